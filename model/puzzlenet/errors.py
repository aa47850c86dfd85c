"""The errors that a user can cause, and nothing else.

PuzzleNetError          shown as one sentence, exit code 2; anything else is a bug and keeps its traceback
├── AwayError           something that may be back soon: exit code 1, worth another try with the same words
│   └── WorkerLostError another process of a distributed run
├── BadDataError        a data set, a folder or a file in it
│   └── BadImageError   one image; also raised by the server, where it becomes a 4xx answer
├── BadCheckpointError  the state of a training run that cannot be gone on from
├── BadVersionError     a packaged version that is not what its digest says
├── RegistryError       the object store: unreachable, denied, missing
└── MonitorError        the monitor: unreachable, denied
"""


class PuzzleNetError(Exception):
    """Wrong input or environment. The message names the file or field and the fix."""

    retry = False
    """Whether the same call may well succeed later: a service is away, and nothing is wrong with the input."""


class AwayError(PuzzleNetError):
    """What is needed cannot be reached at present. Trying again later is the fix."""

    retry = True


class WorkerLostError(AwayError):
    """Another worker of a distributed run has died or never came."""


class BadDataError(PuzzleNetError):
    """A data set that cannot be used as it is."""


class BadImageError(BadDataError):
    """One image that is refused. ``status`` is the HTTP status a server answers with."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class BadCheckpointError(PuzzleNetError):
    """The state of a training run that is damaged, or of another run."""


class BadVersionError(PuzzleNetError):
    """A packaged version whose files do not hash to its digest, or whose parts are missing."""


class RegistryError(PuzzleNetError):
    """The registry cannot be reached, refuses the credentials, or lacks what was asked for."""

    def __init__(self, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.retry = retry


class MonitorError(PuzzleNetError):
    """The monitor cannot be reached, refuses the token, or answers what makes no sense."""

    def __init__(self, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.retry = retry
