"""One model at one moment: everything that is shown comes from here, so that showing needs no cluster."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.conditions import Phase, Verdict
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.status import PuzzleModelStatus, Rollout
from puzzle_operator.core.facts import Absence, Service
from puzzle_operator.core.traffic import observed_share


@dataclass(frozen=True, slots=True)
class Unread:
    """What could not be read, and why: the rest is shown all the same."""

    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A PuzzleModel, what KServe shows for it, and the time of looking."""

    model: PuzzleModel
    service: Service | Absence | Unread
    now: datetime
    created: datetime | None = None

    @classmethod
    def read(cls, body: JsonObject, service: Service | Absence | Unread, now: datetime) -> Snapshot:
        """Of an object as the API server returns it.

        Raises:
            InvalidResourceError: if its spec does not fit the types.
        """
        stamp = body["metadata"].get("creationTimestamp")
        created = datetime.fromisoformat(stamp.replace("Z", "+00:00")) if stamp else None
        return cls(PuzzleModel.parse(body), service, now, created)

    @classmethod
    def of(cls, model: PuzzleModel) -> Snapshot:
        """Of a model alone, now."""
        return cls(model, Unread("not asked for"), datetime.now(UTC))

    @property
    def status(self) -> PuzzleModelStatus:
        return self.model.status

    @property
    def target(self) -> str:
        """The version that the spec names, or what its `auto` stands for now."""
        return self.model.target

    @property
    def champion(self) -> str:
        """The version that serves; empty before the first one does."""
        return self.status.champion.version if self.status.champion else ""

    @property
    def challenger(self) -> str:
        """The version that is being tried; empty at rest."""
        return self.status.active.challenger if self.status.active else ""

    @property
    def is_seen(self) -> bool:
        """Whether the operator has looked at the present spec."""
        return (self.status.observed_generation or 0) >= self.model.generation

    @property
    def has_started(self) -> bool:
        """Whether the operator has ever written a status."""
        return self.status.observed_generation is not None

    @property
    def phase_name(self) -> str:
        """The phase; `-` before the operator has looked at all."""
        return str(self.status.phase) if self.has_started else "-"

    @property
    def arguments(self) -> str:
        """What names this model to a verb, wherever it is typed."""
        return f"{self.model.name} -n {self.model.namespace}"

    @property
    def is_promoted(self) -> bool:
        """Whether the rollout has taken its last gate: what speaks for the challenger decides nothing any more."""
        return self.status.rollout is not None and self.status.rollout.promoted_at is not None

    def verdict_of(self, verdict: Verdict | None) -> Verdict | None:
        """A verdict that still means something: nobody waits for a Pass after the promotion."""
        return None if self.is_promoted and verdict is Verdict.HOLD else verdict

    def share_of(self, version: str) -> int | None:
        """Per cent of traffic that KServe shows for a version; None when it was not read or shows nothing."""
        if not isinstance(self.service, Service) or not self.service.traffic or not version:
            return None
        return observed_share(self.service, version)

    def challenger_share(self) -> int:
        """The challenger's share as seen now, or else as the operator last wrote it."""
        live = self.share_of(self.challenger)
        if live is not None:
            return live
        return self.status.weight.observed if self.status.weight else 0

    def at_step_since(self) -> timedelta | None:
        """Time at the present weight, without the time the clock stood still; None before KServe shows it."""
        rollout = self.status.active
        if rollout is None or rollout.step_started_at is None:
            return None
        until = rollout.frozen_since or self.now
        return max(timedelta(0), until - rollout.step_started_at)

    def step_requests(self) -> int | None:
        """Requests that the challenger answered in this step; None when none were ever counted."""
        rollout = self.status.active
        if rollout is None or self.status.samples is None or self.status.phase is not Phase.CANARY:
            return None
        return max(0, self.status.samples - rollout.step_base_requests)

    def request_rate(self) -> float | None:
        """The challenger's requests a second in this step; None when there are too few to say.

        Requests go on being counted during a pause, in which the clock of the step stands still. A pause in an earlier
        part of a later step is not remembered: the rate is too high then.
        """
        requests, rollout = self.step_requests(), self.status.active
        if not requests or rollout is None or rollout.step_started_at is None:
            return None
        start = rollout.first_traffic_at if rollout.step == 0 and rollout.first_traffic_at else rollout.step_started_at
        blind = rollout.frozen_since is not None and self.status.verdict is Verdict.UNKNOWN
        until = rollout.frozen_since if blind and rollout.frozen_since else self.now
        time = (until - start).total_seconds()
        return requests / time if time >= 1 else None

    @property
    def last(self) -> Rollout | None:
        """The rollout whose evidence the status holds: the present one, or the last."""
        return self.status.rollout
