"""Timing that can be compared: warm up, repeat, take the median or the best."""

import time
from collections.abc import Callable
from statistics import median


def median_ms(call: Callable[[], object], repeats: int, warmup: int = 2) -> float:
    """Median wall time of ``call`` in milliseconds over ``repeats`` runs after ``warmup`` ones."""
    return median(times_ms(call, repeats, warmup))


def best_ms(call: Callable[[], object], repeats: int, warmup: int = 1) -> float:
    """Shortest wall time in milliseconds, which other load on the machine disturbs least."""
    return min(times_ms(call, repeats, warmup))


def times_ms(call: Callable[[], object], repeats: int, warmup: int = 0) -> list[float]:
    """Wall times of ``call`` in milliseconds, ``repeats`` of them after ``warmup`` ones."""
    for _ in range(warmup):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return times
