"""Exploration noise, white or smooth, with the same standard deviation either way."""

import numpy as np

from hypemarl.coupling.spec import AgentSpec
from hypemarl.seeding import generator_state, numpy_generator, set_generator_state
from hypemarl.types import Row


class Noise:
    """Stationary Gaussian noise (n, m) of unit standard deviation for every agent at every step.

    With smoothing s > 0 it is a first-order autoregression in time of coefficient s (an
    Ornstein-Uhlenbeck process at its steps), whose increments are averaged twice over near agents
    with weight s against 1 for the agent itself; rows are scaled to unit variance. Rough noise is
    costly where the objective holds the gradient of the control. Every ``slot`` of several
    environments at once has a separate process and generator.

    Raises:
        ValueError: the smoothing is not in [0, 1).
    """

    def __init__(self, spec: AgentSpec, smoothing: float, seed: int, slot: int = 0) -> None:
        if not 0.0 <= smoothing < 1.0:
            raise ValueError(f"noise_smoothing must be in [0, 1), got {smoothing}")
        self.shape = (spec.n_agents, spec.action_size)
        self.smoothing = smoothing
        self.generator = numpy_generator(seed, f"exploration-{slot}" if slot else "exploration")
        spread = smoothing > 0.0 and not spec.indexed
        self.blend = _blend(spec.stencil(1), smoothing) if spread else None
        self.state = np.zeros(self.shape)
        self.start_episode()

    def start_episode(self) -> None:
        """Forget the past: the next sample is a fresh one of the stationary distribution."""
        self.state = self._draw()

    def sample(self) -> np.ndarray:
        """The noise of this step, (n, m), unit standard deviation; the process moves on by one."""
        current = self.state
        s = self.smoothing
        self.state = s * current + np.sqrt(1.0 - s * s) * self._draw()
        return current

    def _draw(self) -> np.ndarray:
        white = self.generator.standard_normal(self.shape)
        return white if self.blend is None else self.blend @ white

    def state_dict(self) -> Row:
        """Process and generator as plain lists and numbers."""
        return {"state": self.state.tolist(), "generator": generator_state(self.generator)}

    def load_state_dict(self, state: Row) -> None:
        """Put back a :meth:`state_dict`."""
        self.state = np.array(state["state"]).reshape(self.shape)
        set_generator_state(self.generator, state["generator"])


def _blend(near: np.ndarray, smoothing: float) -> np.ndarray:
    """(n, n) matrix of the spatial smoothing, rows of unit length."""
    n, centre = len(near), near.shape[1] // 2
    step = np.eye(n)
    for column in range(near.shape[1]):
        present = near[:, column] >= 0
        if column != centre:
            step[np.flatnonzero(present), near[present, column]] += smoothing
    blend = step @ step
    return blend / np.linalg.norm(blend, axis=1, keepdims=True)
