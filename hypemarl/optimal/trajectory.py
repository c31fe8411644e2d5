"""Gradient of an episode's cost with respect to all its actions, in bounded memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from hypemarl.coupling.adjoint import PlantAdjoint, Tape
from hypemarl.types import Array

type Kept = tuple[Tape | None, Any]
"""The tape of an interval, or in its place the state of the plant before it."""

MEMORY = 2 * 1024**3


@dataclass(frozen=True)
class EpisodeGradient:
    """Cost J, its terms summed over the episode, and dJ/da (steps, n, m)."""

    cost: float
    terms: dict[str, float]
    gradient: Array


class EpisodeAdjoint:
    """Runs open-loop episodes forward and back.

    Tapes of intervals are kept while they fit into ``memory``; of the others only the state at
    their beginning is, and they are run once more on the way back. One tape and the states must
    fit in any case.

    Args:
        adjoint: of the plant; memory: bytes on each rank for tapes.
    """

    def __init__(self, adjoint: PlantAdjoint, memory: int = MEMORY) -> None:
        self.adjoint, self.plant, self.memory = adjoint, adjoint.plant, memory

    def cost(self, parameters: Array, actions: Array) -> float:
        """J of the episode at ``parameters`` under ``actions`` (steps, n, m). Collective.

        Raises:
            SolverDiverged: the plant left its trusted range.
        """
        self.plant.reset(parameters)
        total = 0.0
        for row in actions:
            total += self.plant.step(row)[2]["costs"].total
        return total

    def gradient(self, parameters: Array, actions: Array, discount: float = 1.0) -> EpisodeGradient:
        """J and dJ/da of that episode. Collective. Raises as :meth:`cost` does.

        Below 1 the ``discount`` applies once more to every later interval in the derivatives: row k
        is that of the sum of discount^(l - k) J_l over the intervals l >= k.
        """
        self.plant.reset(parameters)
        cost, terms, kept = self._forward(actions)
        shares_bar = np.ones(self.plant.n_agents)
        state_bar = np.zeros(self.adjoint.state_size)
        gradient = np.zeros_like(actions)
        for k in reversed(range(len(actions))):
            tape = self._tape(kept.pop(), actions[k])
            state_bar, gradient[k] = self.adjoint.pull(tape, discount * state_bar, None, shares_bar)
        return EpisodeGradient(cost, terms, gradient)

    def _forward(self, actions: Array) -> tuple[float, dict[str, float], list[Kept]]:
        """Cost, terms and (tape, None) or (None, state before it) of every interval."""
        cost, held = 0.0, 0
        terms: dict[str, float] = {}
        kept: list[Kept] = []
        for row in actions:
            if held < self.memory:
                *_, info, tape = self.adjoint.step(row)
                # the most that any rank holds, so that all decide alike
                held = self.plant.comm.allreduce(held + tape.nbytes, MPI.MAX)
                kept.append((tape, None))
            else:
                kept.append((None, self.plant.snapshot()))
                info = self.plant.step(row)[2]
            cost += info["costs"].total
            for name, value in info["costs"].terms.items():
                terms[name] = terms.get(name, 0.0) + value
        return cost, terms, kept

    def _tape(self, kept: Kept, actions: Array) -> Tape:
        tape, before = kept
        if before is not None:
            self.plant.restore(before)
            tape = self.adjoint.step(actions)[3]
        assert tape is not None
        return tape
