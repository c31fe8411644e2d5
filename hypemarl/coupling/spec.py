"""Knowledge of the agents about their environment: shapes, bounds, places, and no more."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class AgentSpec:
    """Sizes, bounds and places of n agents; m actions and k observed numbers each.

    Raises ``ValueError`` where the arrays' shapes disagree or a lower bound is not below its upper
    one.
    """

    observation_size: int
    """k, numbers that one agent observes."""
    action_size: int
    """m, numbers that one agent sets."""
    action_low: np.ndarray
    """(m,) lower bounds of the actions."""
    action_high: np.ndarray
    """(m,) upper bounds of the actions."""
    positions: np.ndarray
    """(n, gdim) positions in the domain's own units."""
    spacing: float
    """Typical distance of neighbouring agents, same units."""
    mu_low: np.ndarray
    """(n_mu,) lower ends of the context parameters' ranges."""
    mu_high: np.ndarray
    """(n_mu,) upper ends."""
    own_features: tuple[int, ...]
    """Columns of the observation that belong to the agent's own patch."""
    stencil: Callable[[int], np.ndarray]
    """radius -> (n, K) int64 near agents, -1 for none, column K // 2 the agent itself."""
    grid: tuple[int, ...] | None = None
    """Shape of the agents' grid (C order) where they form one."""
    indexed: bool = False
    """Positions are mere indices: then noise is smooth in time, and not over near agents."""

    def __post_init__(self) -> None:
        for name in ("action_low", "action_high", "mu_low", "mu_high"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        object.__setattr__(self, "positions", np.asarray(self.positions, dtype=np.float64))
        _check_spec(self)

    @property
    def n_agents(self) -> int:
        """n, the number of agents."""
        return len(self.positions)

    @property
    def mu_size(self) -> int:
        """n_mu, the number of context parameters."""
        return len(self.mu_low)

    @property
    def action_middle(self) -> np.ndarray:
        """(m,) middle of the action bounds."""
        return 0.5 * (self.action_low + self.action_high)

    @property
    def action_half_range(self) -> np.ndarray:
        """(m,) half the distance of the bounds: one unit of internal actions."""
        return 0.5 * (self.action_high - self.action_low)

    def scale_mu(self, mu: np.ndarray) -> np.ndarray:
        """Map mu (..., n_mu) from its range to [-1, 1]; a parameter without a range becomes 0."""
        width = self.mu_high - self.mu_low
        safe = np.where(width > 0, width, 1.0)
        return np.where(width > 0, 2.0 * (np.asarray(mu) - self.mu_low) / safe - 1.0, 0.0)


def _check_spec(spec: AgentSpec) -> None:
    if spec.positions.ndim != 2 or not len(spec.positions):
        raise ValueError(f"positions must have shape (n, gdim), n >= 1, got {spec.positions.shape}")
    for name, size in (("action", spec.action_size), ("mu", len(spec.mu_low))):
        low, high = getattr(spec, f"{name}_low"), getattr(spec, f"{name}_high")
        if low.shape != (size,) or high.shape != (size,):
            raise ValueError(
                f"{name}_low and {name}_high must have shape ({size},), "
                f"got {low.shape} and {high.shape}"
            )
    if not np.all(spec.action_low < spec.action_high):
        raise ValueError(
            f"action_low must be below action_high, got {spec.action_low} and {spec.action_high}"
        )
    if not np.all(spec.mu_low <= spec.mu_high):
        raise ValueError(f"mu_low must not exceed mu_high, got {spec.mu_low} and {spec.mu_high}")
    if not spec.spacing > 0:
        raise ValueError(f"spacing must be positive, got {spec.spacing}")
    wrong = [c for c in spec.own_features if not 0 <= c < spec.observation_size]
    if wrong:
        raise ValueError(
            f"own_features must lie in [0, {spec.observation_size}), got {wrong} among "
            f"{spec.own_features}"
        )
    if spec.grid is not None and int(np.prod(spec.grid)) != spec.n_agents:
        raise ValueError(f"grid {spec.grid} does not hold {spec.n_agents} agents")
