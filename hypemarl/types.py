"""Names of types that every room shares. They are evaluated lazily, so that nothing is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

type Array = NDArray[np.float64]

type Json = None | bool | int | float | str | list[Json] | dict[str, Json]
"""Content of a JSON file."""

type Row = dict[str, Any]
"""Values of several types by name: a row of a table, the info of a step, an agent's state."""

type Record = Mapping[str, Any]
"""A :data:`Row` that is only read."""
