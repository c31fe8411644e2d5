"""Conversion between PettingZoo's dictionaries and arrays (n, ...): infos, options, actions."""

from collections.abc import Mapping, Sequence

import numpy as np

from hypemarl.config.errors import nearest
from hypemarl.coupling.plant import ActionError, Plant, non_finite
from hypemarl.types import Record, Row

BOX_TOLERANCE = 1e-6
"""Share of a bound by which a parameter may miss it: single precision rounds by less."""
API_TEST = {"options": 1}
"""Options that PettingZoo's parallel_api_test passes to any environment."""


class Infos:
    """Infos by agent: the same keys, types and shapes at a reset, a step and a failure.

    Wrappers of other libraries read these from the first infos and expect them ever after.
    Values are Python's numbers and float64 arrays, which no two agents share.
    """

    def __init__(self, agents: Sequence[str], plant: Plant) -> None:
        self.agents, self.positions = agents, plant.positions
        measured, self._terms = plant.measured, plant.cost_terms
        self._types = {name: type(value) for name, value in measured.items()}
        self._rest = {
            "cost": 0.0,
            "local_costs": np.zeros(len(agents)),
            "costs": dict.fromkeys(self._terms, 0.0),
            **measured,
        }

    def at_rest(self, mu: np.ndarray) -> dict[str, Row]:
        """Infos of a state without measurements yet, at the context mu (n_mu,)."""
        return self.of(mu, self._rest)

    def of(self, mu: np.ndarray, info: Record) -> dict[str, Row]:
        """Infos of a control interval with this ``info`` (see :class:`~hypemarl.envs.Step`)."""
        n = len(self.agents)
        common = {"cost": float(info["cost"])}
        common |= {f"cost_{term}": float(info["costs"][term]) for term in self._terms}
        rows = {
            "mu": np.tile(mu, (n, 1)),
            "position": self.positions.copy(),
            "local_cost": info["local_costs"].tolist(),
        }
        for name, kind in self._types.items():
            if kind is np.ndarray:
                rows[name] = np.tile(info[name], (n, 1))
            else:
                common[name] = kind(info[name])
        common["failed"] = False
        return {
            agent: dict(zip(rows, row, strict=True)) | common
            for agent, *row in zip(self.agents, *rows.values(), strict=True)
        }


def reset_parameters(
    options: Record | None, names: Sequence[str], low: np.ndarray, high: np.ndarray
) -> np.ndarray | None:
    """The parameters (n,) that ``options`` of a reset fix, None where they fix none. Local.

    Raises:
        ValueError: an unknown option, or parameters that are not finite numbers in the box.
    """
    if not options or options == API_TEST:
        return None
    for name in options:
        if name != "parameters":
            hint = nearest(str(name), ["parameters"])
            raise ValueError(f"reset options: expected parameters only, got {name!r}{hint}")
    box = ", ".join(
        f"{name} in [{a:g}, {b:g}]" for name, a, b in zip(names, low, high, strict=True)
    )
    expected = f"reset options, parameters: expected {len(names)} numbers, {box}"
    try:
        values = np.array(options["parameters"], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{expected}; got no numbers ({error})") from error
    if values.shape != low.shape:
        raise ValueError(f"{expected}; got shape {values.shape}")
    margin = BOX_TOLERANCE * np.maximum(np.abs(low), np.abs(high))
    inside = (values >= low - margin) & (values <= high + margin)  # False for NaN
    outside = np.flatnonzero(~inside).tolist()
    if outside:
        misses = ", ".join(f"{names[k]} = {values[k]:g}" for k in outside)
        raise ValueError(f"{expected}; got {misses}. reset_arrays takes parameters beyond the box")
    return values


def stacked_actions(actions: object, agents: Sequence[str], size: int) -> np.ndarray:
    """Actions (n, size) of all ``agents`` in their order. Local.

    Raises:
        ActionError: an agent is missing or unknown, or its action has a wrong shape or is not
            finite.
    """
    if not isinstance(actions, Mapping):
        raise ActionError(
            f"actions: expected a dictionary from agent to array, got {described(actions)}; "
            "step_arrays takes arrays"
        )
    if actions.keys() != set(agents):
        absent = [agent for agent in agents if agent not in actions]
        unknown = [agent for agent in actions if agent not in agents]
        raise ActionError(f"actions: missing agents {absent}, unknown agents {unknown}")
    stacked = numbers([actions[agent] for agent in agents], (len(agents), size))
    if stacked is None:
        agent = next(agent for agent in agents if numbers(actions[agent], (size,)) is None)
        raise ActionError(
            f"actions: expected numbers of shape ({size},) from each agent, got "
            f"{described(actions[agent])} from agent {agent!r}"
        )
    fault = non_finite(stacked, part="component", names=agents)
    if fault:
        raise ActionError(f"actions: {fault}")
    return stacked.astype(np.float64, copy=False)


def numbers(value: object, shape: tuple[int, ...]) -> np.ndarray | None:
    """``value`` as an array of this shape, None where it is none of real numbers. Local."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # ragged
        return None
    return array if array.shape == shape and array.dtype.kind in "biuf" else None


def described(value: object) -> str:
    """Describe a value that is not of the expected kind: its type, shape or parts."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    if isinstance(value, tuple) and len(value) <= 8:
        return f"a tuple of {', '.join(type(part).__name__ for part in value) or 'nothing'}"
    size = f" of length {len(value)}" if isinstance(value, list | tuple) else ""
    return f"a {type(value).__name__}{size}"
