"""The operator on a machine whose wall clock is off by what a file says, in seconds; everything else is as it is."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from puzzle_operator import main

_FILE = Path(os.environ["PUZZLE_TEST_CLOCK"])
_true = main.utc_now


def _skewed() -> datetime:
    return _true() + timedelta(seconds=float(_FILE.read_text()))


if __name__ == "__main__":
    main.utc_now = _skewed
    main.main()
