"""Learning of the surrogate: fits, errors, imagined episodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hypemarl.agents.learning import Stateful, descend
from hypemarl.agents.policy import Actor
from hypemarl.agents.replay import Replay
from hypemarl.algorithms.model_based import SurrogateOptions
from hypemarl.algorithms.model_based.imagination import Imagined, Piece, Views, imagine, predict
from hypemarl.algorithms.model_based.surrogate import Design, Fixed, Surrogate
from hypemarl.coupling.local_model import LocalModel
from hypemarl.coupling.spec import AgentSpec
from hypemarl.seeding import numpy_generator, torch_generator

COST_WEIGHT = 0.1  # of the cost's fit beside that of the states
Losses = dict[str, float]


class WorldModel(Stateful):
    """A surrogate with its optimiser, fits and imagination. Draws from separate generators.

    ``local``: prior knowledge of the local states.
    """

    STATE = ("networks", "optimiser", "generator", "fitted", "error")

    def __init__(
        self,
        local: LocalModel,
        spec: AgentSpec,
        config: SurrogateOptions,
        seed: int,
        device: torch.device,
    ) -> None:
        self.spec, self.config = spec, config
        surrogate = Surrogate(Design(local, spec, config, torch_generator(seed, "surrogate")))
        self.surrogate = self.networks = surrogate.to(device)
        self.views = Views(local, spec, config.ensemble, config.memory, device)
        self.optimiser = torch.optim.Adam(self.surrogate.parameters(), config.rate)
        self.generator = numpy_generator(seed, "surrogate-batches")
        self.fitted = 0  # fits so far
        self.error = float("inf")  # last mean square error of states, in squared changes

    def fit(self, replay: Replay, count: int) -> Losses:
        """``count`` Adam steps on random pieces of real episodes."""
        if not self.fitted:
            self._set_scales(replay)
        losses = [self._fit(replay) for _ in range(count)]
        last = losses[-max(count // 4, 1) :]
        self.error = float(np.mean([state for state, _ in last]))
        return {
            "surrogate_loss": self.error,
            "surrogate_cost_loss": float(np.mean([cost for _, cost in last])),
        }

    def _fit(self, replay: Replay) -> tuple[float, float]:
        piece = self.views.draw(replay, self.generator, self.config.batch, self.config.rollout)
        states, costs = predict(self.surrogate, piece)
        dynamics = self.surrogate.dynamics
        state_loss = ((states - piece.states) / dynamics.change_scale).square().mean()
        cost_loss = self._cost_loss(costs, piece.costs)
        descend(self.optimiser, state_loss + COST_WEIGHT * cost_loss, 1.0)
        self.fitted += 1
        return float(state_loss.detach()), float(cost_loss.detach())

    def _cost_loss(self, costs: Tensor, real: Tensor) -> Tensor:
        """Loss of the shares (C, B, n, L) and of their sums: small errors of all agents add up."""
        errors = (costs - real) / self.surrogate.cost.cost_scale
        sums = errors.sum(dim=2) / errors.shape[2] ** 0.5
        huber = nn.functional.huber_loss
        return huber(errors, torch.zeros_like(errors)) + huber(sums, torch.zeros_like(sums))

    @torch.no_grad()
    def _set_scales(self, replay: Replay) -> None:
        """Units of states, changes and costs: their deviations in the first real episodes."""
        piece = self.views.draw(replay, self.generator, 256, 1)
        state, change = piece.history[..., -1, :], piece.states[..., 0, :]
        change = change - state
        dynamics, cost = self.surrogate.dynamics, self.surrogate.cost
        axes = (0, 1, 2)
        dynamics.state_mean.copy_(state.mean(dim=axes))
        dynamics.state_scale.copy_(state.std(dim=axes).clamp(min=1e-6))
        dynamics.change_scale.copy_(change.square().mean(dim=axes).sqrt().clamp(min=1e-6))
        known = torch.zeros(())
        if cost.form is not None:
            known = cost.form(state, state + change, piece.actions[..., 0, :], piece.fixed)
        # The mean size, not the deviation: the cost of squeezed mass is heavy-tailed.
        cost.cost_scale.copy_((piece.costs[..., 0] - known).abs().mean().clamp(min=1e-6))

    def errors(self, replay: Replay, rows: np.ndarray) -> Losses:
        """Errors of the surrogate on these episodes, of which it must not have learned.

        ``surrogate_error``: root mean square of one step, in units of the changes;
        ``surrogate_rollout_error``: after a whole episode under the real actions, in units of the
        distance that the states went; ``surrogate_cost_error``: of the whole episode's cost.
        """
        deviations, cost = self.rolled_out(replay, rows)
        return {
            "surrogate_error": self._one_step(replay, rows),
            "surrogate_rollout_error": float(deviations[-1]),
            "surrogate_cost_error": cost,
        }

    @torch.no_grad()
    def rolled_out(self, replay: Replay, rows: np.ndarray) -> tuple[np.ndarray, float]:
        """Errors (T,) of the states after every step of whole episodes under the real actions, in
        units of the distance that the states went by then, and the relative error of the cost."""
        piece = self._whole(replay, rows)
        states, costs = predict(self.surrogate, piece)
        start = piece.history[..., -1:, :]
        axes = (0, 1, 2, 4)
        travelled = (piece.states - start).square().mean(dim=axes).sqrt()
        deviation = (states - piece.states).square().mean(dim=axes).sqrt()
        totals = costs.sum(dim=(2, 3)), piece.costs.sum(dim=(2, 3))
        cost_error = float(((totals[0] - totals[1]) / totals[1]).abs().mean())
        return (deviation / travelled).cpu().numpy(), cost_error

    @torch.no_grad()
    def _one_step(self, replay: Replay, rows: np.ndarray) -> float:
        """Root mean square error of single steps, in units of the changes."""
        members = self.config.ensemble
        whole = self._whole(replay, rows)
        start, real = whole.history[..., -1:, :], whole.states
        first = np.zeros((members, len(rows)), dtype=np.int64)
        once = [
            predict(
                self.surrogate, self.views.cut(replay, np.tile(rows, (members, 1)), first + k, 1)
            )
            for k in range(real.shape[3])
        ]
        before = torch.cat([start, real[..., :-1, :]], dim=3)
        single = torch.cat([states for states, _ in once], dim=3)
        change = self.surrogate.dynamics.change_scale
        error = ((single - real) / change).square().mean()
        return float((error / ((real - before) / change).square().mean()).sqrt())

    def _whole(self, replay: Replay, rows: np.ndarray) -> Piece:
        """These episodes, as long as the shortest, for every member."""
        steps, members = int(replay.lengths[rows].min()), self.config.ensemble
        first = np.zeros((members, len(rows)), dtype=np.int64)
        return self.views.cut(replay, np.tile(rows, (members, 1)), first, steps)

    def imagine(
        self, replay: Replay, actor: Actor, count: int, steps: int, **options: Any
    ) -> tuple[Piece, Imagined]:
        """``count`` episodes of each member under ``actor``; see :func:`imagination.imagine`."""
        anywhere = options.pop("anywhere", False)
        start = self.views.starts(replay, self.generator, count, anywhere)
        mu = start.fixed.mu
        policy = actor.at(mu.flatten(0, 1))

        def act(observations: Tensor) -> Tensor:
            flat = observations.flatten(0, 1)[:, :, None]
            return policy(flat)[:, :, 0].unflatten(0, mu.shape[:2])

        cutoff = self._agreement if self.config.cutoff else None
        imagined = imagine(self.surrogate, self.views, start, act, steps, cutoff=cutoff, **options)
        return start, imagined

    def action_gradients(self, start: Piece, actions: Tensor, gamma: float) -> Tensor:
        """Minus the derivatives (C, B, n, T, m) of discounted costs by unit actions (same shape).

        As those that credit ``adjoint`` has of the plant: later actions stay as they are.
        """
        leaf = actions.detach().requires_grad_()
        fixed = iter(leaf.unbind(dim=3))
        imagined = imagine(
            self.surrogate,
            self.views,
            start,
            lambda _: next(fixed),
            actions.shape[3],
            backward_discount=gamma,
        )
        return -torch.autograd.grad(imagined.costs.sum(), leaf)[0]

    @torch.no_grad()
    def _agreement(self, history: Tensor, actions: Tensor, fixed: Fixed) -> Tensor:
        """(C, B) 1 where the members agree about the next states, to ``cutoff`` errors, else 0."""
        members = len(history)

        def for_each(values: Tensor) -> Tensor:  # each member judges the episodes of all
            return values.flatten(0, 1).expand(members, -1, *values.shape[2:])

        known = Fixed(*(for_each(part) for part in fixed))
        judged = self.surrogate.dynamics(for_each(history), for_each(actions), known)
        scale = self.surrogate.dynamics.change_scale
        disagreement = (judged.std(dim=0) / scale).square().mean(dim=(1, 2)).sqrt()
        bound = self.config.cutoff * self.error**0.5
        return (disagreement <= bound).float().view(history.shape[:2])
