"""What KServe's answer means in versions rather than revisions, and which canary percentage is safe to ask
for.

The trap this module exists for: `canaryTrafficPercent` is not the share of *the challenger*. It is the share
of whatever revision Knative calls the latest *ready* one, and the rest goes to `latestRolledoutRevision`.
While a challenger still starts, the latest ready revision is the one before it, which may be a version that
was just rolled back. So a share above 0 is only ever asked for when the latest ready revision, and every
revision created after it, is of the version that is meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from .facts import Pod, Revision, Service

_GIVEN_UP = "ProgressDeadlineExceeded"
"""Reason of a revision that Knative has scaled to zero because it never started."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the InferenceService is to say: one version in its template, and that version's share.

    `percent` None means no canary: the template's version gets everything as soon as it is ready.
    """

    version: str
    percent: int | None


def version_of(service: Service, revision: str) -> str:
    """Digest that a revision runs; empty when unknown."""
    return next((item.version for item in service.revisions if item.name == revision), "")


def observed_share(service: Service, version: str) -> int:
    """Per cent of traffic that KServe shows for a version, over all its revisions."""
    return sum(share.percent for share in service.traffic if version_of(service, share.revision) == version)


def ready_revision(service: Service, version: str) -> Revision | None:
    """The latest ready revision, when it runs this version."""
    return next((r for r in service.revisions if r.name == service.latest_ready and r.version == version), None)


def is_settled_on(service: Service, version: str) -> bool:
    """Whether the latest ready revision, and every newer one that may yet become ready, runs this version."""
    ready = ready_revision(service, version)
    if ready is None:
        return False
    newer = [r for r in service.revisions if r.generation > ready.generation]
    return all(r.version == version for r in newer)


def rolled_out_version(service: Service) -> str:
    """The version that gets what the canary does not."""
    return version_of(service, service.latest_rolled_out)


def safe_plan(service: Service | None, version: str, percent: int | None) -> Plan:
    """The wanted share if it is safe to ask for now, else 0.

    With nothing rolled out yet KServe ignores the percentage, so a first deployment asks for everything.
    """
    if service is None or not service.latest_rolled_out or percent == 0:
        return Plan(version, percent)
    return Plan(version, percent if is_settled_on(service, version) else 0)


def pods_of(service: Service, version: str) -> tuple[Pod, ...]:
    """Pods that run a version."""
    revisions = {r.name for r in service.revisions if r.version == version}
    return tuple(pod for pod in service.pods if pod.revision in revisions)


def trouble(service: Service, version: str) -> str:
    """Why a version is not ready, as far as Kubernetes says; empty when it says nothing."""
    for pod in pods_of(service, version):
        if pod.waiting:
            return f"pod {pod.name}: {pod.waiting}" + (f": {pod.message}" if pod.message else "")
    for revision in sorted(service.revisions, key=lambda r: -r.generation):
        if revision.version == version and not revision.ready and revision.message:
            return f"revision {revision.name}: {revision.message}"
    return ""


def refusal(service: Service, version: str) -> str:
    """What a server of this version says that refuses to load it; empty when none does."""
    for pod in pods_of(service, version):
        if pod.refused:
            return f"its server refuses it: {pod.message}"
    return ""


def newest_revision(service: Service) -> Revision | None:
    """The one that Knative makes again when it is deleted; None when there is none."""
    return max(service.revisions, key=lambda revision: revision.generation, default=None)


def given_up(service: Service, version: str) -> tuple[str, ...]:
    """The newest revision, when it runs this version and Knative tries no more to start it.

    A revision that did not start in its progress deadline is scaled to zero for good: neither room that was made nor a
    store that is back starts it again (knative/serving#9432). So may be one that is named like another that was deleted
    just before. It is made anew, and tried anew, once it is deleted.
    """
    newest = newest_revision(service)
    if newest is None or newest.version != version or newest.ready or not newest.message.startswith(_GIVEN_UP):
        return ()
    return (newest.name,)


def abandoned(service: Service, keep: frozenset[str]) -> tuple[str, ...]:
    """Revisions that never got ready, or are not any more, and that nobody needs: they only hold pods.

    Knative gives up a revision that does not start after ten minutes at the earliest. The newest one stays in any
    case (Knative would make it again), and so do those of the versions to keep and those that have traffic.
    """
    newest = max((revision.generation for revision in service.revisions), default=0)
    routed = {share.revision for share in service.traffic if share.percent}
    return tuple(
        revision.name
        for revision in service.revisions
        if not revision.ready
        and revision.generation < newest
        and revision.version not in keep
        and revision.name not in routed
    )
