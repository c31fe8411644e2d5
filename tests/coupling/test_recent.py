"""The bounded memory of results."""

from __future__ import annotations

import pytest

from hypemarl.coupling.recent import Recent


def test_the_longest_unused_value_goes() -> None:
    memory: Recent[str, str] = Recent(2)
    made: list[str] = []

    def ask(key: str) -> str:
        def make() -> str:
            made.append(key)
            return key.upper()

        return memory.get(key, make)

    assert [ask(key) for key in "abacab"] == list("ABACAB")
    assert made == ["a", "b", "c", "b"]
    assert [key in memory for key in "abc"] == [True, True, False]
    memory.clear()
    assert not any(key in memory for key in "abc")


def test_a_value_may_be_made_of_others() -> None:
    memory: Recent[int, int] = Recent(3)

    def factorial(n: int) -> int:
        return memory.get(n, lambda: n * factorial(n - 1) if n else 1)

    assert factorial(6) == 720
    assert [n in memory for n in range(7)] == [False] * 4 + [True] * 3


def test_what_cannot_be_made_is_not_kept() -> None:
    memory: Recent[int, float] = Recent(1)
    with pytest.raises(ZeroDivisionError):
        memory.get(0, lambda: 1 / 0)
    assert 0 not in memory
    assert memory.get(0, lambda: 2.0) == 2.0


def test_a_memory_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity of at least 1, got 0"):
        Recent(0)
