"""MB-HypeMARL: policies that improve in a surrogate of the local dynamics.

Two ways to use the surrogate. :class:`ModelPolicyGradient` goes back through imagined episodes and
descends their cost; :class:`Dyna` is TD3 that also learns from imagined episodes, ten per real one,
as the paper has it. The surrogate learns from real episodes only; imagined episodes are thrown away
when it changes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hypemarl.agents.learning import descend
from hypemarl.agents.noise import Noise
from hypemarl.agents.policy import ExploringAgent, track
from hypemarl.agents.replay import Experience, Replay
from hypemarl.algorithms.model_based import DynaOptions, MBPGOptions
from hypemarl.algorithms.model_based.imagination import Imagined, Piece
from hypemarl.algorithms.model_based.world_model import Losses, WorldModel
from hypemarl.algorithms.td3.agent import TD3
from hypemarl.config import AgentConfig
from hypemarl.coupling.local_model import LocalModel
from hypemarl.coupling.spec import AgentSpec
from hypemarl.seeding import numpy_generator
from hypemarl.training.progress import averages

IMAGINED_SLOT = 10_000  # of the exploration noise: none that an environment has


class ModelPolicyGradient(ExploringAgent):
    """An actor that descends the cost of imagined episodes. ``steps``: of a whole episode."""

    STATE = ("actor", "actor_average", "optimiser", "model", "updates")

    def __init__(
        self,
        local: LocalModel,
        steps: int,
        spec: AgentSpec,
        config: AgentConfig,
        seed: int,
        device: str = "cpu",
        slots: int = 1,
    ) -> None:
        super().__init__(spec, config, seed, device, slots=slots)
        self.steps = steps
        self.options = config.of(MBPGOptions)
        self.model = WorldModel(local, spec, self.options, seed, self.device)
        self.optimiser = torch.optim.Adam(self.actor.parameters(), self.options.policy_rate)
        self.updates = 0

    def improve(self, replay: Replay, *, first: bool, episodes: int) -> tuple[Losses, int]:
        """Fit the surrogate and improve the actor in it; returns losses and updates made.

        ``first``: after the random episodes, when there is most to learn; ``episodes``: real ones
        since the last time, which make no difference.
        """
        config = self.options
        losses = self.model.fit(replay, config.first_fits if first else config.fits)
        count = config.first_updates if first else config.updates
        costs = [self._descend_imagined(replay) for _ in range(count)]
        return losses | {"imagined_cost": float(np.mean(costs[-max(count // 2, 1) :]))}, count

    def _descend_imagined(self, replay: Replay) -> float:
        """One update; returns the mean cost of the imagined episodes."""
        config = self.options
        window = config.window or self.steps
        _, imagined = self.model.imagine(
            replay, self.actor, config.imagine, window, anywhere=window < self.steps
        )
        costs = (imagined.costs * imagined.weight[:, :, None]).sum(dim=(2, 3))
        loss = costs.mean()

        def fault(norm: float) -> str:
            return (
                f"the gradient through imagined episodes is {norm} in update {self.updates + 1}: "
                "take a shorter agent.mbpg.window or a lower agent.mbpg.policy_rate"
            )

        descend(self.optimiser, loss, self.config.gradient_clip, fault)
        self.updates += 1
        rate = max(config.policy_average_rate, 1.0 / self.updates)
        track(self.actor_average, self.actor, rate)
        return float(loss.detach())


class Dyna(TD3):
    """TD3 on real and imagined episodes. ``steps``: of a whole episode.

    ``shape`` makes rewards (n,) of minus the shares of the cost (n,), as the environment does. With
    credit ``adjoint`` the action gradients of imagined actions are the surrogate's derivatives; the
    plant's adjoint has no part in it.
    """

    STATE = (*TD3.STATE, "model", "choice", "imagined_noise")

    def __init__(
        self,
        local: LocalModel,
        steps: int,
        shape: Callable[[np.ndarray], np.ndarray],
        spec: AgentSpec,
        config: AgentConfig,
        seed: int,
        device: str = "cpu",
        slots: int = 1,
    ) -> None:
        super().__init__(spec, config, seed, device, slots=slots)
        self.steps, self.shape = steps, shape
        self.options = config.of(DynaOptions)
        self.model = WorldModel(local, spec, self.options, seed, self.device)
        self.choice = numpy_generator(seed, "real-or-imagined")
        self.imagined_noise = Noise(spec, config.noise_smoothing, seed, IMAGINED_SLOT)

    def improve(self, replay: Replay, *, first: bool, episodes: int) -> tuple[Losses, int]:
        """Fit, imagine, and update in proportion to real and imagined episodes.

        ``episodes``: real ones since the last call. Returns losses and updates made.
        """
        config = self.options
        losses = self.model.fit(replay, config.first_fits if first else config.fits)
        imagined = self._imagined(replay, config.imagined_per_real * episodes)
        count = self.steps * episodes * (1 + config.imagined_per_real)
        share = config.imagined_per_real / (1.0 + config.imagined_per_real)
        updates: list[Losses] = []
        for _ in range(count):
            usable = len(imagined) > 0 and self.choice.random() < share
            updates.append(self.update(imagined if usable else replay))
        return losses | averages(updates), count

    def _target_actions(self, batch: dict[str, Tensor]) -> Tensor:
        """As TD3's; the actions themselves in real episodes, which have no action gradients."""
        return super()._target_actions(batch) if batch["gradients"].shape[-1] else batch["actions"]

    def _imagined(self, replay: Replay, count: int) -> Replay:
        """A replay of ``count`` episodes of the exploring policy, imagined just now."""
        members = self.options.ensemble
        each = -(-count // members)
        with torch.no_grad():
            start, imagined = self.model.imagine(
                replay, self.actor, each, self.steps, noise=self._noise(members, each)
            )
        gradients = None
        if self.config.credit == "adjoint":
            gradients = self.model.action_gradients(start, imagined.actions, self.config.gamma)
            gradients = gradients / self._half_range
        return self._stored(start, imagined, gradients)

    def _noise(self, members: int, each: int) -> list[Tensor]:
        """Exploration (C, B, n, m) of every step, smooth as in real episodes."""
        steps = []
        for _ in range(members * each):
            self.imagined_noise.start_episode()
            steps.append(np.stack([self.imagined_noise.sample() for _ in range(self.steps)]))
        noise = self.config.exploration_noise * self._tensor(np.stack(steps, axis=1))
        return list(noise.unflatten(1, (members, each)))

    def _stored(self, start: Piece, imagined: Imagined, gradients: Tensor | None) -> Replay:
        """The imagined episodes as a replay, each as far as imagination counts."""

        def array(part: Tensor) -> np.ndarray:  # (C, B, ...) -> (C * B, ...)
            return part.flatten(0, 1).cpu().numpy()

        def by_step(part: Tensor) -> np.ndarray:  # (C, B, n, T, ...) -> (C * B, T, n, ...)
            return np.swapaxes(array(part), 1, 2)

        observations, costs = by_step(imagined.observations), by_step(imagined.costs)
        actions = by_step(self._middle + self._half_range * imagined.actions)
        slopes = None if gradients is None else by_step(gradients)
        lengths = imagined.weight.sum(dim=2).flatten().long().tolist()
        targets = array(start.fixed.targets)
        replay = Replay(self.spec, len(lengths), self.steps, self.seed)
        # Its batches are drawn by the generator that goes on between replays.
        replay.generator = self.choice
        for e, length in enumerate(lengths):
            rewards = [self.shape(-shares.astype(np.float64)) for shares in costs[e, :length]]
            replay.append(
                Experience(
                    start.mu[e],
                    targets[e],
                    observations[e, : length + 1],
                    actions[e, :length],
                    np.array(rewards),
                    np.zeros(length, dtype=bool),
                    None if slopes is None else slopes[e, :length],
                )
            )
        return replay
