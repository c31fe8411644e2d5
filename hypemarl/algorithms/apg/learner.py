"""Adjoint policy gradient: episodes inside a torch graph, differentiated through the plant.

Every group runs an episode window by window; the first rank of each computes the gradient of its
window's cost, rank 0 takes all of them in the order of the groups, updates, and gives the actor
back. The others of a group hold the plant's parts and no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hypemarl import mpi
from hypemarl.algorithms import lazy
from hypemarl.algorithms.apg import APGOptions
from hypemarl.config import Config
from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.envs.array_env import plant_of
from hypemarl.optimal.taped import TapedPlant
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.training.evaluation import Array
from hypemarl.training.groups import Groups
from hypemarl.training.learner import Learner
from hypemarl.training.progress import Losses, Progress, Result, Round, TrainingError, averages

if TYPE_CHECKING:
    from torch import Tensor

    from hypemarl.agents.noise import Noise
    from hypemarl.agents.policy import Probe
    from hypemarl.algorithms.apg.agent import APG
    from hypemarl.envs.array_env import ArrayEnv


class Window(NamedTuple):
    """Outcome of a group's window: the gradient (p,) of the loss, None where it failed."""

    gradient: Array | None
    loss: float
    failure: str | None


@dataclass
class Running:
    """An episode of one group as it goes on, on the group's first rank."""

    mu: Array
    noise: Noise | None
    observations: list[Array]
    costs: list[float] = field(default_factory=list)
    failure: str | None = None

    @property
    def result(self) -> Result:
        """Entry of the records; the return is minus the mean share of the cost."""
        cost, agents = sum(self.costs), len(self.observations[0])
        return Result(cost, -cost / agents, len(self.costs), self.failure, False)


class AdjointGradient(Learner):
    """The algorithm ``apg`` (see :class:`~hypemarl.training.learner.Learner`)."""

    agent: APG

    def __init__(self, config: Config, env: ArrayEnv, groups: Groups) -> None:
        super().__init__(config, env, groups)
        self.steps = config.env.control_steps
        self.window = config.agent.of(APGOptions).window or self.steps
        clip = config.agent.of(APGOptions).state_clip
        self.taped = TapedPlant(require_adjoint(plant_of(env)), clip)
        self._seen: list[Running] = []  # of the latest round, on rank 0

    def start(self) -> None:
        """An agent on the first rank of every group; on the CPU, where the plant is."""
        if self.groups.leads:
            config, share = self.config, self._rate_share()
            self.agent = lazy("algorithms.apg.agent:APG")(
                self.env.agent_spec, config.agent, config.seed, rate_share=share
            )

    def _rate_share(self) -> float:
        return 1.0

    def collect(self, parameters: Sequence[Array], progress: Progress) -> Round:
        """Windows of all groups side by side, each with the update that is due after it."""
        number = progress.episode + 1 + self.groups.index
        active = self.groups.index < len(parameters)
        running = self._begin(parameters[self.groups.index], number) if active else None
        losses: list[Losses] = []
        for first in range(0, self.steps, self.window):
            run = partial(self._differentiate, running, first)
            window = self.taped.lead(run) if active else None
            windows = self.groups.gather(window)
            with mpi.raise_together(self.groups.comm):
                losses += self._learn([w for w in windows if w is not None], progress)
            self._share_networks()
        episodes = [r for r in self.groups.gather(running) if r is not None]
        self._seen = [running for running in episodes if running.costs]
        with mpi.raise_together(self.groups.comm):
            if self.window < self.steps:
                losses += [
                    self.agent.learn_value(np.stack(r.observations), r.mu, np.array(r.costs))
                    for r in episodes
                    if r.failure is None
                ]
        return [r.result for r in episodes], averages(losses)

    def _begin(self, parameters: Array, number: int) -> Running | None:
        """Reset the group's environment. Collective in the group."""
        episode = self.env.reset_arrays(parameters)
        if not self.groups.leads:
            return None
        noise = self.agent.noise(number)
        return Running(episode.mu, noise, [np.array(episode.observations)], failure=episode.fault)

    def _differentiate(self, running: Running | None, first: int) -> Window:
        """Run a window and differentiate its loss. On the group's first rank."""
        assert running is not None
        if running.failure is None:
            loss = self._run(running, first, min(first + self.window, self.steps))
        if running.failure is not None:
            return Window(None, 0.0, running.failure)
        return Window(self.agent.gradient(loss), float(loss.detach()), None)

    def _run(self, running: Running, first: int, last: int) -> Tensor:
        """Loss of the control steps first..last, in a graph; a failure is kept in ``running``."""
        import torch

        from hypemarl.optimal.bridge import rollout

        policy = self.agent.policy(running.mu, running.noise)
        loss = torch.zeros((), dtype=torch.float64)
        seen, limit = running.observations[-1], self.config.env.divergence_limit
        try:
            for interval in rollout(self.taped, policy, seen, last - first, limit):
                cost = interval.shares.sum()
                running.costs.append(float(cost.detach()))
                running.observations.append(interval.observations.detach().numpy().copy())
                loss = loss + cost
        except SolverDiverged as error:
            running.failure = str(error)
            return loss
        if last < self.steps:
            remaining = 1.0 - last / self.steps
            loss = loss + self.agent.cost_to_go(interval.observations, running.mu, remaining)
        return loss

    def _learn(self, windows: Sequence[Window], progress: Progress) -> list[Losses]:
        """Take the gradients of a window of all groups; update where due. Local, on rank 0."""
        losses: list[Losses] = []
        for episode, window in enumerate(windows, progress.episode):
            if window.gradient is None:
                continue
            losses.append({"actor_loss": window.loss})
            if self.agent.take(window.gradient):
                try:
                    share = episode / self.config.training.episodes
                    losses.append(self.agent.update(share))
                except FloatingPointError as error:
                    raise TrainingError(f"episode {episode + 1}: {error}") from error
                progress.updates += 1
        return losses

    def _share_networks(self) -> None:
        """Rank 0's networks to the first ranks of the other groups. Collective."""
        if self.groups.count == 1:
            return
        state = self.agent.shared_state() if self.groups.root else None
        state = self.groups.comm.bcast(state, root=0)
        if self.groups.leads and not self.groups.root:
            self.agent.load_shared_state(state)

    def probe(self) -> Probe | None:
        """The latest round's episodes, without gradients, which are no longer there."""
        if not self._seen:
            return None
        observations = [np.stack(running.observations) for running in self._seen]
        return self.agent.probe_of(observations, [running.mu for running in self._seen])
