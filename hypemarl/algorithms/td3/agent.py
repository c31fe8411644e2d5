"""TD3 (Fujimoto, van Hoof, Meger 2018) for many agents of one continuous system.

Deviations from the paper are listed in ``docs/agents.md``.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from hypemarl.agents.learning import descend
from hypemarl.agents.networks import first_copy
from hypemarl.agents.policy import ExploringAgent, Probe, frozen_copy, track
from hypemarl.agents.replay import Batch, Replay
from hypemarl.algorithms.td3.credit import make_credit, masked_mean
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec
from hypemarl.seeding import torch_generator


class TD3(ExploringAgent):
    """Twin-delayed deterministic policy gradient; docs/agents.md says what is shared.

    ``seed`` feeds named generators for the initial values, the exploration and the target
    smoothing; global random states are neither used nor changed. ``slots`` is the number of
    environments that explore at once, each with independent noise.
    """

    STATE: ClassVar[tuple[str, ...]] = (
        *("actor", "critic", "actor_target", "critic_target", "actor_average"),
        *("actor_optimiser", "critic_optimiser", "smoothing_generator", "updates"),
    )

    def __init__(
        self, spec: AgentSpec, config: AgentConfig, seed: int, device: str = "cpu", slots: int = 1
    ) -> None:
        super().__init__(spec, config, seed, device, slots=slots)
        self.credit = make_credit(spec, config, self.device)
        self.critic = self.credit.make_critic(torch_generator(seed, "critic"))
        self.first_critic = first_copy(self.critic)  # whose values the actor maximises
        self.actor_target, self.critic_target = frozen_copy(self.actor), frozen_copy(self.critic)
        fused = self.device.type in ("cpu", "cuda")
        actor, critic = self.actor.parameters(), self.critic.parameters()
        self.actor_optimiser = torch.optim.Adam(actor, config.actor_rate, fused=fused)
        self.critic_optimiser = torch.optim.Adam(critic, config.critic_rate, fused=fused)
        self.smoothing_generator = torch_generator(seed, "target-smoothing", device)
        self.updates = 0

    def update(self, replay: Replay) -> dict[str, float]:
        """One update of the critics, and of the actor and all targets every ``policy_delay`` ones.

        Raises:
            FloatingPointError: the critics' loss or its gradient is not finite.
            RuntimeError: the replay holds no complete episode.
        """
        config = self.config
        return self.learn(self.prepare(replay.sample(config.batch_episodes, config.batch_steps)))

    def learn(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """The update of :meth:`update` on a batch that :meth:`prepare` made."""
        config = self.config
        self.updates += 1
        metrics = self._update_critic(batch)
        if self.updates % config.policy_delay == 0:
            metrics |= self._update_actor(batch)
            track(self.actor_target, self.actor, config.tau)
            track(self.critic_target, self.critic, config.tau)
            track(self.actor_average, self.actor, config.average_rate)
        return {name: float(value) for name, value in metrics.items()}

    def prepare(self, sample: Batch) -> dict[str, Tensor]:
        """A batch as tensors in internal units: unit actions, scaled mu, clipped rewards."""
        config = self.config
        batch = {name: self._tensor(array) for name, array in sample._asdict().items()}
        batch["actions"] = (batch["actions"] - self._middle) / self._half_range
        batch["mu"] = self._tensor(self.spec.scale_mu(sample.mu))
        batch["target_actions"] = self._target_actions(batch)
        rewards = batch["rewards"] * config.reward_scale
        if config.reward_clip:
            rewards = rewards.clamp(-config.reward_clip, config.reward_clip)
        batch["rewards"] = self.credit.rewards(rewards)
        batch["features"] = self._features(batch, batch["observations"], batch["remaining"])
        return batch

    def _target_actions(self, batch: dict[str, Tensor]) -> Tensor:
        """Target actions (E, n, T, m) of cloning, in units of half ranges."""
        return self.credit.target_actions(batch, self._half_range)

    def _features(self, batch: dict[str, Tensor], observations: Tensor, time: Tensor) -> Tensor:
        """Critics' inputs at observations (E, n, T, k) with ``time`` (E, T) remaining."""
        features = self.critic.observe(observations, batch["targets"])
        if not self.config.time_left:
            return features
        column = time[:, None, :, None].expand(*features.shape[:3], 1)
        return torch.cat([features, column], dim=-1)

    def target_values(self, batch: dict[str, Tensor], noise: Tensor) -> Tensor:
        """(E, n, T) returns bootstrapped by the min of the twins, under ``noise`` (E, n, T, m).

        With ``trace`` 0 they are TD3's targets r + gamma * Q; else lambda-returns along the
        episode (Sutton, Barto 2018, section 12.1), taken as if its actions were the policy's.
        """
        config = self.config
        with torch.no_grad():
            following, mu = batch["next_observations"], batch["mu"]
            noise = (noise * config.target_noise).clamp(
                -config.target_noise_clip, config.target_noise_clip
            )
            actions = (self.actor_target(following, mu) + noise).clamp(-1.0, 1.0)
            features = self._features(batch, following, batch["next_remaining"])
            values = self.critic_target(features, actions, mu).amin(dim=0)
            # A terminated step has no future. Past the horizon's end there is one, which is only
            # not recorded, unless the critics know where the end is.
            going_on = 1.0 - batch["terminated"][:, None]
            if config.time_left:
                going_on = going_on * (batch["next_remaining"] > 0)[:, None]
            return self._returns(batch, config.gamma * going_on, values)

    def _returns(self, batch: dict[str, Tensor], discount: Tensor, values: Tensor) -> Tensor:
        """Lambda-returns (E, n, T) from the values of the next states, backwards in time."""
        rewards, trace = batch["rewards"], self.config.trace
        if not trace:
            return rewards + discount * values
        returns = torch.empty_like(rewards)
        following = values[..., -1]
        for t in reversed(range(rewards.shape[-1])):
            if t + 1 < rewards.shape[-1]:
                # Where the next step does not exist, or is not the next one, there is only Q.
                known = trace * batch["mask"][:, None, t + 1]
                following = torch.lerp(values[..., t], returns[..., t + 1], known)
            returns[..., t] = rewards[..., t] + discount[..., t] * following
        return returns

    def critic_loss(self, batch: dict[str, Tensor], noise: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the twins' losses over the steps that exist, and their values (2, E, n, T)."""
        targets = self.target_values(batch, noise)
        values = self.critic(batch["features"], batch["actions"], batch["mu"])
        difference = functional.huber_loss if self.config.huber else functional.mse_loss
        losses = difference(values, targets.expand_as(values), reduction="none")
        return 2.0 * masked_mean(losses, batch["mask"]), values

    def actor_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Minus the mean over agents of the first twin's values of the current actors' actions."""
        actions = self.actor(batch["observations"], batch["mu"])
        values = self.first_critic(batch["features"], actions, batch["mu"])[0]
        gain = masked_mean(values, batch["mask"])
        if not self.config.cloning:
            return -gain
        # TD3+BC (Fujimoto, Gu 2021): values on a scale of one, plus the distance to what was done.
        size = masked_mean(values.detach().abs(), batch["mask"]).clamp(min=1e-6)
        difference = self.credit.distance(batch, actions)
        distance = masked_mean(difference.square().mean(dim=-1), batch["mask"])
        return -gain / size + self.config.cloning * distance

    def probe(self, sample: Batch) -> Probe:
        """A sample with the gradient of the actor's objective, the mean value, in its actions."""
        observed = super().probe(sample)
        observations, mu = observed.observations, observed.mu
        targets = {"targets": self._tensor(sample.targets)}
        features = self._features(targets, observations, self._tensor(sample.remaining))
        with torch.no_grad():
            actions = self.actor(observations, mu)
        values = self.first_critic(features, actions.requires_grad_(), mu)[0]
        (gradient,) = torch.autograd.grad(masked_mean(values, observed.mask), actions)
        return observed._replace(gradient=gradient)

    def value_bound(self, reward: float) -> float:
        """Largest possible |Q| where no reward of the environment exceeds ``reward`` in size."""
        scaled = self.config.reward_scale * reward
        return self._discounted(min(scaled, self.config.reward_clip or scaled))

    def _discounted(self, reward: float) -> float:
        """Sum of this reward at every step from now on."""
        return reward / (1.0 - self.config.gamma) if self.config.gamma < 1.0 else float("inf")

    def _update_critic(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        noise = torch.randn(
            batch["actions"].shape, generator=self.smoothing_generator, device=self.device
        )
        loss, values = self.critic_loss(batch, noise)
        norm = self._descend(loss, self.critic_optimiser, "critic")
        mean = masked_mean(values.detach(), batch["mask"])
        return {"critic_loss": loss.detach(), "critic_gradient": norm, "q_mean": mean}

    def _update_actor(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        loss = self.actor_loss(batch)
        norm = self._descend(loss, self.actor_optimiser, "actor")
        return {"actor_loss": loss.detach(), "actor_gradient": norm}

    def _descend(self, loss: Tensor, optimiser: torch.optim.Optimizer, name: str) -> Tensor:
        """One step of ``optimiser``; returns the gradient's norm before clipping."""

        def fault(norm: float) -> str:
            return (
                f"the gradient of the {name} is {norm} in update {self.updates} (loss "
                f"{float(loss.detach())}): lower agent.{name}_rate or set agent.reward_clip"
            )

        return descend(optimiser, loss, self.config.gradient_clip, fault)

    @property
    def parameter_count(self) -> dict[str, int]:
        """Number of trained parameters of the actor and of both critics."""
        modules = {"actor": self.actor, "critic": self.critic}
        return {name: sum(p.numel() for p in m.parameters()) for name, m in modules.items()}
