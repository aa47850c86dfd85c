"""KServe's and Knative's traffic rules in a few dozen lines, to play whole rollouts against the pure core.

It models what was read in the sources: KServe 0.20 `ksvc_reconciler.createKnativeService` (which targets it
writes) and `InferenceServiceStatus.PropagateStatus` (how the rolled-out revision moves, and falls back),
Knative 0.48's configuration (a changed template makes a revision; the latest ready one never goes backwards)
and labeler (a revision that a route names, even at 0 %, keeps its pods).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from puzzle_operator.core.facts import Absence, Pod, Revision, Service, Share
from puzzle_operator.core.traffic import Plan

# How many ticks a version's pods take to become ready; None: never.
START_TICKS = 2


@dataclass
class KServe:
    """One InferenceService and what Knative makes of it."""

    start_ticks: dict[str, int | None] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    lag: int = 1
    broken: set[str] = field(default_factory=set)
    """Versions whose pods crash: their revisions are not ready any more, and a route that names one stands
    still."""
    refused: dict[str, str] = field(default_factory=dict)
    """What their servers say of versions that they refuse to load."""
    gives_up: dict[str, int] = field(default_factory=dict)
    """How many revisions of a version Knative scales to zero for good, as they did not start in time."""
    falls_back: bool = False
    """Whether the race of kserve#2097 is lost: the rolled-out revision falls back when a canary begins."""
    uid: str | None = None
    generation: int = 0
    template: str = ""
    percent: int | None = None
    revisions: list[Revision] = field(default_factory=list)
    ages: dict[str, int] = field(default_factory=dict)
    latest_ready: str = ""
    rolled_out: str = ""
    previous: str = ""
    traffic: tuple[Share, ...] = ()
    pending: int = 0
    incarnations: int = 0

    # ------------------------------------------------------------ what the operator and people do

    def apply(self, plan: Plan) -> None:
        """Server-side apply of the manifest: one write, template and percentage together."""
        if self.uid is None:
            self.incarnations += 1
            self.uid = f"isvc-{self.incarnations}"
        if (plan.version, plan.percent) == (self.template, self.percent):
            return
        self.generation += 1
        self.pending = self.lag
        begins = plan.version != self.template and plan.percent == 0 and self.rolled_out == self.latest_ready
        if plan.version != self.template:
            self.template = plan.version
            self._new_revision(plan.version)
        self.percent = plan.percent
        if begins and self.falls_back and self.previous:
            self.rolled_out = self.previous

    def delete(self) -> None:
        """Everything that belonged to the InferenceService is gone."""
        self.__init__(  # type: ignore[misc]
            start_ticks=self.start_ticks,
            restarts=self.restarts,
            lag=self.lag,
            falls_back=self.falls_back,
            broken=self.broken,
            refused=self.refused,
            gives_up=self.gives_up,
            incarnations=self.incarnations,
        )

    def drop(self, revision: str) -> None:
        """A revision is deleted; Knative makes it again if it is the newest."""
        gone = next(r for r in self.revisions if r.name == revision)
        newest = max(self.revisions, key=lambda r: r.generation)
        self.revisions = [r for r in self.revisions if r.name != revision]
        if gone is newest:
            self._new_revision(gone.version)

    # ------------------------------------------------------------ what the controllers do

    def tick(self) -> None:
        """One round of the controllers: pods start, the latest ready revision moves on, traffic follows."""
        if self.uid is None:
            return
        for revision in self.revisions:
            self.ages[revision.name] += 1
            needed = self.start_ticks.get(revision.version, START_TICKS)
            up = needed is not None and self.ages[revision.name] >= needed and revision.version not in self.refused
            self._set_ready(revision.name, up and not revision.message and revision.version not in self.broken)
        self._find_latest_ready()
        if self.pending > 0:
            self.pending -= 1
        if self.pending == 0 and self.latest_ready:
            self._route()

    def _find_latest_ready(self) -> None:
        """The newest ready revision that is not older than the present one, unless that one was deleted."""
        known = {r.name: r for r in self.revisions}
        least = known[self.latest_ready].generation if self.latest_ready in known else 0
        ready = [r for r in self.revisions if r.ready and r.generation >= least]
        if ready:
            self.latest_ready = max(ready, key=lambda r: r.generation).name

    def _route(self) -> None:
        latest, rolled = self.latest_ready, self.rolled_out
        named = {latest} if self.percent in {None, 100} or not rolled else {latest, rolled}
        if not all(r.ready for r in self.revisions if r.name in named):
            return  # errUnreadyRevision: Knative leaves the route as it is
        if self.percent is None or not rolled:
            self.traffic = (Share(latest, 100),)
        else:
            self.traffic = (Share(latest, self.percent),)
            if self.percent < 100:
                self.traffic += (Share(rolled, 100 - self.percent),)
        percent = self.traffic[0].percent
        if self.rolled_out != latest:
            if percent == 100:
                self.previous, self.rolled_out = self.rolled_out, latest
        elif latest == self.revisions[-1].name and percent < 100 and self.previous:
            self.rolled_out = self.previous
            self._route()

    def _new_revision(self, version: str) -> None:
        number = max((r.generation for r in self.revisions), default=0) + 1
        name = f"line-1-predictor-{number:05d}"
        left = self.gives_up.get(version, 0)
        self.gives_up[version] = max(0, left - 1)
        why = "ProgressDeadlineExceeded Initial scale was never achieved" if left else ""
        self.revisions.append(Revision(name, version, number, ready=False, message=why))
        self.ages[name] = 0

    def _set_ready(self, name: str, ready: bool) -> None:
        self.revisions = [replace(r, ready=ready) if r.name == name else r for r in self.revisions]

    # ------------------------------------------------------------ what can be seen

    def named(self) -> set[str]:
        """Revisions that the route names, at whatever share: they keep their pods."""
        latest_created = self.revisions[-1].name if self.revisions else ""
        return {share.revision for share in self.traffic} | {latest_created}

    def share(self, version: str) -> int:
        """Per cent of real traffic on a version."""
        versions = {r.name: r.version for r in self.revisions}
        return sum(s.percent for s in self.traffic if versions.get(s.revision) == version)

    def seen(self) -> Service | Absence:
        """As the cluster adapter would read it."""
        if self.uid is None:
            return Absence.NONE
        return Service(
            uid=self.uid,
            generation=self.generation,
            observed=self.pending == 0,
            ready=bool(self.latest_ready),
            latest_created=self.revisions[-1].name,
            latest_ready=self.latest_ready,
            latest_rolled_out=self.rolled_out,
            traffic=self.traffic,
            revisions=tuple(self.revisions),
            pods=tuple(self._pod(r) for r in self.revisions if r.name in self.named()),
        )

    def _pod(self, revision: Revision) -> Pod:
        restarts = self.restarts.get(revision.version, 0)
        return Pod(
            name=f"{revision.name}-pod",
            revision=revision.name,
            ready=revision.ready,
            restarts=restarts,
            waiting="CrashLoopBackOff" if restarts > 5 else "",
            refused=revision.version in self.refused,
            message=self.refused.get(revision.version, ""),
        )
