"""A token bucket: a rate that may be exceeded for as long as savings last. Time is given, never asked for."""

from __future__ import annotations

import math


class Bucket:
    """Refills with `rate` a second up to `burst`."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError(f"a bucket needs a rate above 0 and room for 1; got {rate} and {burst}")
        self._rate, self._burst = rate, burst
        self._level, self._at = burst, now

    def take(self, cost: float, now: float) -> float:
        """Take `cost` and return 0, or take nothing and return the seconds to wait; infinity if it never fits."""
        self._level = min(self._burst, self._level + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
        if cost <= self._level:
            self._level -= cost
            return 0.0
        return (cost - self._level) / self._rate if cost <= self._burst else math.inf
