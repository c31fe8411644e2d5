"""A local reward learned from demonstrations, and TD3 on it (inverse RL).

A discriminator D(y_i, a_i; p_i, mu) tells the actions in demonstrations from those of the agents
now; its logit is the reward of agent i (Fu, Luo, Levine, ICLR 2018, without their shaping
term). It is local: it sees one agent's observation and action, and no cost. What the agents should
do for others is in it only as far as demonstrators did it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hypemarl.agents.learning import Episodes, descend
from hypemarl.agents.replay import Batch
from hypemarl.agents.schemes import INFORMED, Plan, make_network
from hypemarl.algorithms.imitation import IRLOptions
from hypemarl.algorithms.td3.agent import TD3
from hypemarl.algorithms.td3.credit import masked_mean
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec
from hypemarl.seeding import torch_generator

SHOWN_BATCH = 3  # demonstrations in a fit of the discriminator
BLUR = 0.1  # standard deviation of noise on its actions, in half ranges: no hair-thin boundary
BOUND = 3.0  # of a reward: a discriminator that is sure has nothing more to say


class RewardLearner(TD3):
    """TD3 whose rewards are a discriminator's, fitted in every update. Arguments as TD3's."""

    STATE = (*TD3.STATE, "discriminator", "reward_optimiser", "reward_generator", "shown")

    def __init__(
        self, spec: AgentSpec, config: AgentConfig, seed: int, device: str = "cpu", slots: int = 1
    ) -> None:
        super().__init__(spec, config, seed, device, slots=slots)
        sizes = (spec.observation_size + spec.action_size, *config.critic_hidden, 1)
        # The demonstrator knows place and mu whatever the scheme is, and so does its judge.
        generator = torch_generator(seed, "reward")
        judge = make_network(Plan(spec, config, sizes, 1, 1.0, generator), INFORMED)
        self.discriminator = judge.to(device)
        rate = config.of(IRLOptions).rate
        self.reward_optimiser = torch.optim.Adam(self.discriminator.parameters(), rate)
        self.reward_generator = torch_generator(seed, "reward-batches", device)
        self.shown = Episodes()

    def prepare(self, sample: Batch) -> dict[str, Tensor]:
        """A batch with learned rewards of unit scale in place of the environment's."""
        batch = super().prepare(sample)
        self.reward_loss = self._fit(batch)
        with torch.no_grad():
            logits = self._judge(batch["observations"], batch["actions"], batch["mu"])
        batch["rewards"] = logits.clamp(-BOUND, BOUND)
        return batch

    def learn(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """An update, with the loss of the discriminator's fit."""
        return super().learn(batch) | {"reward_loss": self.reward_loss}

    def value_bound(self, reward: float) -> float:
        """Largest |Q| of learned rewards; those of the environment have no part in it."""
        return self._discounted(BOUND)

    def _judge(self, observations: Tensor, actions: Tensor, mu: Tensor) -> Tensor:
        """Logits (E, n, T): large for actions of a demonstrator."""
        return self.discriminator(torch.cat([observations, actions], dim=-1), mu)[0].squeeze(-1)

    def _fit(self, batch: dict[str, Tensor]) -> float:
        """One step of logistic regression, demonstrations against the batch of the replay."""
        examples = self.shown.draw(self.reward_generator, SHOWN_BATCH)
        real = functional.softplus(-self._judge_blurred(examples)).mean()
        loss = real + masked_mean(functional.softplus(self._judge_blurred(batch)), batch["mask"])
        descend(self.reward_optimiser, loss, 1.0)
        return float(loss.detach())

    def _judge_blurred(self, batch: dict[str, Tensor]) -> Tensor:
        actions = batch["actions"]
        blur = torch.randn(actions.shape, generator=self.reward_generator, device=self.device)
        return self._judge(batch["observations"], actions + BLUR * blur, batch["mu"])
