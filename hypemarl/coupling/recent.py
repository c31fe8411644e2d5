"""A memory of expensive results, of bounded size."""

from collections.abc import Callable, Hashable


class Recent[K: Hashable, V]:
    """The values used last; where there are too many, the one longest unused goes.

    Every rank must ask in the same order: all then keep and drop the same values.

    Args:
        capacity: values that are kept, at least 1.

    Raises:
        ValueError: no capacity.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"Recent: expected a capacity of at least 1, got {capacity}")
        self.capacity = capacity
        self._values: dict[K, V] = {}  # in the order of their last use

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of ``key``, from ``make`` where it is not in memory. Collective if that is."""
        value = self._values.pop(key) if key in self._values else make()
        self._values[key] = value
        while len(self._values) > self.capacity:
            del self._values[next(iter(self._values))]
        return value

    def clear(self) -> None:
        """Forget all values. Local."""
        self._values.clear()

    def __contains__(self, key: K) -> bool:
        """True where the value is in memory; does not count as a use. Local."""
        return key in self._values
