"""How long to wait before the next try."""


def pause(failures: int, first: float, longest: float) -> float:
    """Seconds after so many failures in a row (1 or more): ``first``, and twice as long each time up to ``longest``."""
    return min(longest, first * 2.0 ** min(failures - 1, 20))
