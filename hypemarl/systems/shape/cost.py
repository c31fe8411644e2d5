"""Cost of a shape over a control interval, and each agent's share of it.

J = sum over intervals of tau [ w_D C_D + w_L C_L^2  or  1/2 ||grad v||^2 ]
    + tau [ beta / 2 <a^2> + beta_g / 2 <(a_i - a_j)^2> ],

of the steady flow around the shape that the interval ends with; tau the interval's length, a the
amplitudes in units of their bound, <a^2> = sum_i |a_i|^2 / n, <(a_i - a_j)^2> the sum over pairs of
neighbours over n. Agents' shares: the force on their part of the obstacle, the dissipation in their
cells, their own amplitude, half of every pair. C_D and C_L are the force along the stream and to
its left, over U^2 D / 2; an agent's share of C_L^2 is C_L times its share of C_L.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypemarl.config import EnvConfig, options_of
from hypemarl.coupling.plant import StepCosts
from hypemarl.systems.shape.options import ShapeOptions

OBJECTIVES = {"drag": ("drag", "lift"), "dissipation": ("dissipation",)}


@dataclass(frozen=True)
class ShapeCosts:
    """Costs of an interval and shares (2, n) of drag and lift coefficient."""

    costs: StepCosts
    coefficients: np.ndarray


class ShapeCost:
    """The cost and, for exact gradients, its derivatives. Local: what it gets is on every rank.

    Args:
        config: weights, objective, interval; edges: (e, 2) pairs of neighbours; n_agents: n;
            diameter: D.
    """

    def __init__(
        self, config: EnvConfig, edges: np.ndarray, n_agents: int, diameter: float
    ) -> None:
        self.config, self.edges, self.n_agents = config, edges, n_agents
        self.options = options_of(config, ShapeOptions)
        self.names = (*OBJECTIVES[self.options.objective], "control", "control_gradient")
        self.coefficient = 2.0 / (self.options.speed**2 * diameter)

    @property
    def uses_drag(self) -> bool:
        """True where the objective is made of forces, False where of dissipation."""
        return self.options.objective == "drag"

    def axes(self, angle: float) -> np.ndarray:
        """Directions of drag and lift (rows), over U^2 D / 2."""
        along = np.array([np.cos(angle), np.sin(angle)])
        return self.coefficient * np.stack([along, [-along[1], along[0]]])

    def evaluate(
        self, forces: np.ndarray, dissipation: np.ndarray, amplitudes: np.ndarray, angle: float
    ) -> ShapeCosts:
        """Of forces (n, 2), dissipation (n,) and amplitudes (n, m) in units of their bound."""
        flow, tau, n = self.options, self.config.control_interval, self.n_agents
        coefficients = self.axes(angle) @ forces.T
        if self.uses_drag:
            lift = coefficients[1]
            shares = [flow.drag_weight * coefficients[0], flow.lift_weight * lift.sum() * lift]
        else:
            shares = [dissipation]
        shares.append(0.5 * self.options.beta / n * (amplitudes**2).sum(axis=1))
        squares = ((amplitudes[self.edges[:, 0]] - amplitudes[self.edges[:, 1]]) ** 2).sum(axis=1)
        pairs = np.bincount(self.edges.ravel(), np.repeat(0.5 * squares, 2), n)
        shares.append(0.5 * self.options.beta_g / n * pairs)
        parts = tau * np.stack(shares)
        terms = {name: float(part.sum()) for name, part in zip(self.names, parts, strict=True)}
        return ShapeCosts(StepCosts(terms, parts.sum(axis=0)), coefficients)

    def pull_forces(
        self, coefficients: np.ndarray, shares_bar: np.ndarray, angle: float
    ) -> np.ndarray:
        """Cotangent (n, 2) of the forces, by that of the shares (n,)."""
        flow, lift = self.options, coefficients[1]
        bars = np.stack(
            [
                flow.drag_weight * shares_bar,
                flow.lift_weight * (lift @ shares_bar + lift.sum() * shares_bar),
            ]
        )
        return self.config.control_interval * bars.T @ self.axes(angle)

    def pull_amplitudes(self, amplitudes: np.ndarray, shares_bar: np.ndarray) -> np.ndarray:
        """Cotangent (n, m) of the amplitudes, by that of the shares (n,)."""
        tau, n = self.config.control_interval, self.n_agents
        bar = tau * self.options.beta / n * shares_bar[:, None] * amplitudes
        first, second = self.edges.T
        weight = 0.5 * tau * self.options.beta_g / n * (shares_bar[first] + shares_bar[second])
        part = weight[:, None] * (amplitudes[first] - amplitudes[second])
        np.add.at(bar, first, part)
        np.add.at(bar, second, -part)
        return bar
