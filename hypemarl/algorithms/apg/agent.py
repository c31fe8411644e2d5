"""Adjoint policy gradient: actors that descend the global cost itself.

The cost of an episode is a differentiable function of the actor's parameters wherever the plant
has an adjoint, so that its gradient needs no critic, no exploration and no credit: every agent
learns the effect of its action on the cost of all. Execution stays decentralised: each agent acts
on its observation alone. Where a gradient goes back through a window of the episode only, a learned
value stands for the cost after it (as in SHAC: Xu et al., ICLR 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from hypemarl.agents.learning import Episodes, descend
from hypemarl.agents.noise import Noise
from hypemarl.agents.policy import PolicyAgent, track
from hypemarl.agents.schemes import INFORMED, Plan, make_network
from hypemarl.algorithms.apg import APGOptions
from hypemarl.algorithms.imitation import ImitateOptions
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec
from hypemarl.seeding import torch_generator
from hypemarl.types import Row

VALUE_EPISODES = 20  # episodes that the value is fitted to, the latest
VALUE_STEPS = 10  # its updates after an episode
VALUE_BATCH = 4  # episodes in each of them
SHOWN_BATCH = 4  # demonstrations in an update that imitates them


class CostToGo(nn.Module):
    """Cost from here to the end of the episode: the sum of a number that each agent contributes.

    It exists in training only, so it always knows places and mu, whatever the actor's scheme is.
    """

    def __init__(self, spec: AgentSpec, config: AgentConfig, generator: torch.Generator) -> None:
        super().__init__()
        sizes = (spec.observation_size + 1, *config.critic_hidden, 1)
        gain = 1.0 / spec.n_agents
        self.network = make_network(Plan(spec, config, sizes, 1, gain, generator), INFORMED)

    def forward(self, observations: Tensor, mu: Tensor, remaining: Tensor) -> Tensor:
        """(E, T) costs of observations (E, n, T, k), ``remaining`` (E, T) shares of the horizon."""
        column = remaining[:, None, :, None].expand(*observations.shape[:3], 1)
        inputs = torch.cat([observations, column], dim=-1)
        return self.network(inputs, mu)[0].squeeze(-1).sum(dim=1)


class APG(PolicyAgent):
    """An actor that follows gradients of the cost; the learner supplies the plant's part of them.

    Several of them may compute gradients (:meth:`gradient`), one of them learns from all
    (:meth:`take`, :meth:`update`). Arguments as those of
    :class:`~hypemarl.agents.policy.PolicyAgent`, and the share of ``rate`` to learn with.
    """

    SHARED = ("actor", "actor_average", "value")
    STATE = (
        *(*SHARED, "actor_optimiser", "value_optimiser", "value_generator"),
        *("imitation_optimiser", "imitation_generator", "shown", "recent", "updates"),
    )

    def __init__(
        self,
        spec: AgentSpec,
        config: AgentConfig,
        seed: int,
        device: str = "cpu",
        *,
        rate_share: float = 1.0,
    ) -> None:
        super().__init__(spec, config, seed, device)
        self.options = config.of(APGOptions)
        self.rate_share = rate_share
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), self.options.rate)
        self.value = CostToGo(spec, config, torch_generator(seed, "value")).to(device)
        self.value_optimiser = torch.optim.Adam(self.value.parameters(), self.options.value_rate)
        self.value_generator = torch_generator(seed, "value-batches")
        self.recent = Episodes(maxlen=VALUE_EPISODES)
        imitation_rate = config.of(ImitateOptions).rate
        self.imitation_optimiser = torch.optim.Adam(self.actor.parameters(), imitation_rate)
        self.imitation_generator = torch_generator(seed, "imitation-batches")
        self.shown = Episodes()
        self.updates = 0
        self._sum = torch.zeros(sum(p.numel() for p in self.actor.parameters()))
        self._count = 0  # windows in the sum

    def noise(self, episode: int) -> Noise | None:
        """Noise on the actions of this episode; None where ``noise`` is zero.

        It depends on seed and number of the episode only, so that it needs no state.
        """
        if not self.options.noise:
            return None
        return Noise(self.spec, self.config.noise_smoothing, self.seed, episode)

    def policy(self, mu: np.ndarray, noise: Noise | None = None) -> Callable[[Tensor], Tensor]:
        """The online policies at ``mu`` (n_mu,): observations (n, k) -> actions (n, m), float64.

        Differentiable in the observations and the actor's parameters.
        """
        kind = next(self.actor.parameters()).dtype
        policy = self.actor.at(self._context(mu).to(kind))
        middle, half = self._middle.double(), self._half_range.double()

        def act(observations: Tensor) -> Tensor:
            unit = policy(observations.to(kind)[None, :, None])[0, :, 0].double()
            if noise is not None:
                unit = unit + self.options.noise * torch.from_numpy(noise.sample())
            return middle + half * unit

        return act

    def cost_to_go(self, observations: Tensor, mu: np.ndarray, remaining: float) -> Tensor:
        """Value of (n, k) observations where the share ``remaining`` of the horizon is to come.

        Differentiable in the observations.
        """
        shares = torch.full((1, 1), remaining)
        seen = observations.float()[None, :, None]
        return self.value(seen, self._context(mu), shares)[0, 0].double()

    def gradient(self, loss: Tensor) -> np.ndarray:
        """(p,) the gradient of ``loss`` with respect to all of the actor's parameters."""
        parameters = list(self.actor.parameters())
        parts = torch.autograd.grad(loss, parameters, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts]).numpy()

    def take(self, gradient: np.ndarray) -> bool:
        """Add a window's gradient (p,); returns True when there are enough for an update."""
        self._sum += torch.from_numpy(gradient)
        self._count += 1
        return self._count >= self.options.batch

    def update(self, share: float) -> dict[str, float]:
        """One step along the mean of the gradients taken, with ``share`` of the training done.

        Raises:
            FloatingPointError: the gradient is not finite.
        """
        mean, offset = self._sum / self._count, 0
        self._sum, self._count = torch.zeros_like(self._sum), 0
        self.updates += 1
        for parameter in self.actor.parameters():
            parameter.grad = mean[offset : offset + parameter.numel()].view_as(parameter).clone()
            offset += parameter.numel()
        rate = self._rate(share)
        for group in self.actor_optimiser.param_groups:
            group["lr"] = rate

        def fault(norm: float) -> str:
            return (
                f"the gradient of the actor is {norm} in update {self.updates}: set "
                "agent.apg.state_clip, or take a shorter agent.apg.window"
            )

        norm = descend(self.actor_optimiser, None, self.config.gradient_clip, fault)
        # At the start the mean of all so far: the first values are no part of it for long.
        track(self.actor_average, self.actor, max(self.options.average_rate, 1 / self.updates))
        return {"actor_gradient": float(norm), "actor_rate": rate}

    def _rate(self, share: float) -> float:
        """Half a cosine from ``rate``, or a share of it, to ``rate_end`` of that."""
        end = self.options.rate_end
        fall = 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))
        return self.rate_share * self.options.rate * (end + (1.0 - end) * fall)

    def learn_value(
        self, observations: np.ndarray, mu: np.ndarray, costs: np.ndarray
    ) -> dict[str, float]:
        """Fit the value to the costs to go of the latest episodes.

        Args:
            observations: (T + 1, n, k), from the first on; mu: (n_mu,); costs: (T,) of the steps.
        """
        to_go = np.append(np.cumsum(costs[::-1])[::-1], 0.0)
        self.recent.append(
            {
                "observations": self._tensor(np.swapaxes(observations, 0, 1)),
                "mu": self._context(mu)[0],
                "left": torch.linspace(1.0, 0.0, len(to_go)),
                "to_go": self._tensor(to_go),
            }
        )
        losses = [self._fit_value() for _ in range(VALUE_STEPS)]
        return {"value_loss": float(np.mean(losses))}

    def _fit_value(self) -> float:
        batch = self.recent.draw(self.value_generator, VALUE_BATCH)
        values = self.value(batch["observations"], batch["mu"], batch["left"])
        loss = nn.functional.huber_loss(values, batch["to_go"])
        descend(self.value_optimiser, loss, 1.0)
        return float(loss.detach())

    def imitate(self) -> dict[str, float]:
        """One step towards the demonstrations: the mean squared distance to its unit actions."""
        batch = self.shown.draw(self.imitation_generator, SHOWN_BATCH)
        actions = self.actor(batch["observations"], batch["mu"])
        loss = (actions - batch["actions"]).square().mean()
        descend(self.imitation_optimiser, loss, self.config.gradient_clip)
        self.updates += 1
        track(self.actor_average, self.actor, max(self.options.average_rate, 1 / self.updates))
        return {"imitation_loss": float(loss.detach())}

    def shared_state(self) -> Row:
        """Networks by which other ranks compute gradients and act."""
        return {name: getattr(self, name).state_dict() for name in self.SHARED}

    def load_shared_state(self, state: Row) -> None:
        """Take over the networks of another rank."""
        for name, values in state.items():
            getattr(self, name).load_state_dict(values)

    def state_dict(self) -> Row:
        """The state, with the gradients taken since the last update."""
        return super().state_dict() | {"gradients": {"sum": self._sum, "count": self._count}}

    def load_state_dict(self, state: Row) -> None:
        """Put back a :meth:`state_dict`."""
        super().load_state_dict(state)
        self._sum, self._count = state["gradients"]["sum"].clone(), state["gradients"]["count"]
