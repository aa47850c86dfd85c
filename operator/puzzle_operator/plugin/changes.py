"""What a person may ask for, as merge patches of the PuzzleModel, with sentences that say what will come of them."""

from __future__ import annotations

from dataclasses import dataclass

from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.conditions import Phase
from puzzle_operator.api.names import RETRY_ANNOTATION
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.names import short

_LEAST_DIGITS = 4


class RefusedError(Exception):
    """What was asked for makes no sense for this model now; the message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """A merge patch and what it does.

    `patch` None: there is nothing to change. `exact`: the patch is only right for the object as it was read, so the API
    server is to refuse it when the object has moved on.
    """

    patch: JsonObject | None
    sentences: tuple[str, ...]
    exact: bool = False


def set_paused(model: PuzzleModel, paused: bool) -> Change:
    """spec.paused."""
    if model.spec.paused is paused:
        return Change(None, (f"spec.paused is {str(paused).lower()} already",))
    if not paused:
        return Change({"spec": {"paused": False}}, ("spec.paused becomes false: rollouts start and go on",))
    share = model.status.weight.wanted if model.status.active and model.status.weight else None
    stays = f"the challenger stays at {share} %" if share is not None else "no new version is started"
    safe = "guards and a failing verdict still roll back"
    return Change({"spec": {"paused": True}}, (f"spec.paused becomes true: {stays}; {safe}",))


def retry(model: PuzzleModel, version: str | None) -> Change:
    """The annotation that lets a version out of the quarantine.

    `version` is a digest or the beginning of one; None means the one that the spec names, or the only one there is.

    Raises:
        RefusedError: if no such version is quarantined, or more than one fits.
    """
    held = [entry.version for entry in model.status.quarantined]
    if not held:
        raise RefusedError(f"no version of {model.key} is quarantined")
    wanted = _chosen(model, held, version)
    sentences = [f"version {short(wanted)} leaves the quarantine"]
    if model.spec.model.is_auto:
        sentences.append("spec.model.version is auto: it is tried again where nothing newer was accepted")
    elif model.target == wanted:
        sentences.append("it starts as challenger, without traffic at first")
    else:
        sentences.append(f"the spec names {short(model.target)}: name this one for it to be tried")
    if model.spec.paused:
        sentences.append("spec.paused is true: nothing starts until `kubectl puzzle resume`")
    return Change({"metadata": {"annotations": {RETRY_ANNOTATION: wanted}}}, tuple(sentences), exact=True)


def _chosen(model: PuzzleModel, held: list[str], version: str | None) -> str:
    named = ", ".join(short(item) for item in held)
    if version is None:
        if model.target in held:
            return model.target
        if len(held) == 1:
            return held[0]
        raise RefusedError(f"several versions of {model.key} are quarantined ({named}): say which")
    digits = version.removeprefix("sha256:").lower()
    if len(digits) < _LEAST_DIGITS:
        raise RefusedError(f"{version!r} is too short: at least {_LEAST_DIGITS} digits of the version")
    fitting = [item for item in held if item.removeprefix("sha256:").startswith(digits)]
    if len(fitting) != 1:
        found = "no quarantined version" if not fitting else "more than one quarantined version"
        raise RefusedError(f"{found} of {model.key} begins with {version}; there are {named}")
    return fitting[0]


def abort(model: PuzzleModel) -> Change:
    """The spec names the champion again, which takes a challenger's traffic away at once.

    Raises:
        RefusedError: if there is no champion to go back to.
    """
    champion, wanted, auto = model.status.champion, model.target, model.spec.model.is_auto
    if champion is None:
        raise RefusedError(f"{model.key} has no champion to go back to: no version was ever ready")
    if champion.version == wanted:
        said = (
            f"auto stands for champion {short(wanted)}" if auto else f"the spec names champion {short(wanted)} already"
        )
        return Change(None, (said,))
    now = f"auto (now {short(wanted)})" if auto else short(wanted)
    sentences = [f"spec.model.version: {now} becomes {short(champion.version)}, the champion"]
    if auto:
        sentences.append("set it to auto again to take the newest accepted version")
    rollout = model.status.active
    if rollout is not None and model.status.phase not in {Phase.ROLLING_BACK, Phase.RESTORING}:
        share = model.status.weight.observed if model.status.weight else 0
        sentences.append(f"challenger {short(rollout.challenger)} ({share} % now) loses its traffic at once")
        sentences.append("it is not quarantined: naming it again starts a new rollout")
    else:
        sentences.append("the champion serves on; no rollout is in progress")
    sentences.append("where the manifest lies in Git, change it there too, or it will be applied again")
    return Change({"spec": {"model": {"version": champion.version}}}, tuple(sentences), exact=True)
