"""A plant with the tapes of its last intervals, driven by the first rank of its communicator.

The policy, and the weights of its results, may live on one rank only: that rank leads, the others
follow its steps and transposes, each with its own part of tapes and cotangents.
"""

from collections.abc import Callable

import numpy as np

from hypemarl import mpi
from hypemarl.coupling.adjoint import PlantAdjoint, Tape
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.types import Array


class TapedPlant:
    """Steps of a plant and their transposes, in the reverse order.

    Args:
        adjoint: of the plant.
        state_clip: largest norm of the state's cotangent between two intervals, a larger one is
            scaled down; 0 leaves it as it is. Gradients are exact where nothing was scaled.
    """

    def __init__(self, adjoint: PlantAdjoint, state_clip: float = 0.0) -> None:
        self.adjoint, self.plant, self.state_clip = adjoint, adjoint.plant, state_clip
        self.comm = adjoint.plant.comm
        self.leads = self.comm.rank == 0
        self._tapes: list[Tape | None] = []
        self._bars: dict[int, Array] = {}  # of followers: cotangent after interval k

    def lead[T](self, work: Callable[[], T]) -> T | None:
        """Run ``work`` on the first rank while the others follow its steps. Collective.

        Returns the result on the first rank, None elsewhere. An error of ``work`` reaches all.
        """
        result = None
        error: Exception | None = None
        if self.leads:
            try:
                result = work()
            except Exception as caught:
                error = caught
            self._tell("stop")
        else:
            while self._follow():
                pass
        self._forget()
        with mpi.raise_together(self.comm):
            if error is not None:
                raise error
        return result

    # On the leading rank, inside `lead`.

    def begin(self) -> None:
        """Forget the intervals so far: nothing is pulled back beyond here."""
        self._tell("begin")
        self._forget()

    def step(self, actions: Array) -> tuple[Array, Array, int]:
        """One interval: observations (n, k), cost shares (n,), and its number for :meth:`pull`.

        Raises:
            ActionError, SolverDiverged: as the plant does; the interval then has no number.
        """
        self._tell("step")
        return self._step(actions)

    def pull(
        self, index: int, state_bar: Array, observations_bar: Array, shares_bar: Array
    ) -> tuple[Array, Array]:
        """Cotangents of the state before interval ``index`` and of its actions (n, m).

        Intervals are pulled once each, the last one first; see :meth:`PlantAdjoint.pull`.
        """
        self._tell("pull", index, observations_bar, shares_bar)
        return self._pull(index, state_bar, observations_bar, shares_bar)

    # On every rank.

    def _forget(self) -> None:
        self._tapes.clear()
        self._bars.clear()

    def _step(self, actions: Array) -> tuple[Array, Array, int]:
        observations, _, info, tape = self.adjoint.step(actions)
        self._tapes.append(tape)
        return observations, info["costs"].shares, len(self._tapes) - 1

    def _pull(
        self, index: int, state_bar: Array, observations_bar: Array, shares_bar: Array
    ) -> tuple[Array, Array]:
        tape, self._tapes[index] = self._tapes[index], None  # frees its memory
        return self.adjoint.pull(tape, self._clipped(state_bar), observations_bar, shares_bar)

    def _clipped(self, state_bar: Array) -> Array:
        if not self.state_clip:
            return state_bar
        square = mpi.sum_over_ranks(self.comm, np.array([state_bar @ state_bar]))[0]
        return state_bar * min(1.0, self.state_clip / max(np.sqrt(square), 1e-300))

    def _tell(self, *command: object) -> None:
        if self.comm.size > 1:
            self.comm.bcast(command, root=0)

    def _follow(self) -> bool:
        """Take part in the next command of the leading rank; False after the last. Collective."""
        name, *arguments = self.comm.bcast(None, root=0)
        if name == "begin":
            self._forget()
        elif name == "step":
            try:
                self._step(np.zeros((self.plant.n_agents, self.plant.action_size)))
            except (SolverDiverged, ValueError):
                return True  # the leading rank has the same error and decides what follows
        elif name == "pull":
            index, *rest = arguments
            after = self._bars.pop(index, np.zeros(self.adjoint.state_size))
            self._bars[index - 1] = self._pull(index, after, *rest)[0]
        return bool(name != "stop")
