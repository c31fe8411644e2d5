"""Imagined episodes of a surrogate, and pieces of real ones for its fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hypemarl.agents.replay import Replay
from hypemarl.algorithms.model_based.surrogate import Fixed, Surrogate, padded, spread
from hypemarl.coupling.local_model import LocalModel
from hypemarl.coupling.spec import AgentSpec


class Piece(NamedTuple):
    """L control steps of real episodes: C members of an ensemble, B pieces each."""

    history: Tensor
    """(C, B, n, H, s) states up to the first step, the first one repeated before it"""
    fixed: Fixed
    constants: Tensor
    """(C, B, n, k) the observations at the first step, of which some columns never change"""
    actions: Tensor
    """(C, B, n, L, m) in units of half their range"""
    states: Tensor
    """(C, B, n, L, s) after each step"""
    costs: Tensor
    """(C, B, n, L) shares of the cost"""
    mu: np.ndarray
    """(C * B, n_mu) in its own units"""


class Imagined(NamedTuple):
    """T control steps: observations (C, B, n, T + 1, k), unit actions, shares (C, B, n, T)."""

    observations: Tensor
    actions: Tensor
    costs: Tensor
    weight: Tensor
    """(C, B, T), 1 for steps that count, 0 after the ensemble has lost agreement"""


class Views:
    """Between the arrays of a replay, local states and observations.

    Args:
        members: C; steps of memory: H - 1.
    """

    def __init__(
        self, local: LocalModel, spec: AgentSpec, members: int, memory: int, device: torch.device
    ) -> None:
        self.local, self.spec, self.members, self.memory = local, spec, members, memory
        self.device = device
        self.state = list(local.state)
        self.seen = padded(local.seen).to(device)
        agent, number = local.shown[:, 0], local.shown[:, 1]
        moving = np.flatnonzero(agent >= 0)
        # Columns of the gathered states (K * s), and where they stand in the observation.
        picked = agent[moving] * len(self.state) + number[moving]
        self.picked = torch.as_tensor(picked, device=device)
        order = np.argsort(np.concatenate([moving, np.flatnonzero(agent < 0)]))
        self.still = torch.as_tensor(np.flatnonzero(agent < 0), device=device)
        self.order = torch.as_tensor(order, device=device)

    def observe(self, state: Tensor, constants: Tensor) -> Tensor:
        """Observations (C, B, n, k) of states (C, B, n, s)."""
        moving = spread(state, self.seen).index_select(-1, self.picked)
        whole = torch.cat([moving, constants.index_select(-1, self.still)], dim=-1)
        return whole.index_select(-1, self.order)

    def draw(self, replay: Replay, generator: np.random.Generator, count: int, steps: int) -> Piece:
        """Random pieces of ``steps`` control steps, ``count`` for each member."""
        steps = min(steps, int(replay.lengths.max(initial=0)))
        long = np.flatnonzero(replay.lengths >= max(steps, 1))
        rows = generator.choice(long, (self.members, count))
        first = np.floor(generator.random(rows.shape) * (replay.lengths[rows] - steps + 1))
        return self.cut(replay, rows, first.astype(np.int64), steps)

    def cut(self, replay: Replay, rows: np.ndarray, first: np.ndarray, steps: int) -> Piece:
        """Pieces of ``steps`` control steps from step ``first`` of episodes ``rows`` (C, B)."""
        times = first[..., None] + np.arange(steps)
        past = np.maximum(first[..., None] + np.arange(-self.memory, 1), 0)
        at = rows[..., None]

        def along(array: np.ndarray) -> Tensor:  # (C, B, T, n, ...) -> (C, B, n, T, ...)
            return self._tensor(np.swapaxes(array, 2, 3))

        middle, half = self.spec.action_middle, self.spec.action_half_range
        constants = self._tensor(replay.observations[rows, :, first])
        if not replay.costs.shape[-1]:
            raise RuntimeError("a surrogate needs the cost shares in the replay: see Experience")
        return Piece(
            history=along(replay.observations[at, :, past][..., self.state]),
            fixed=Fixed(
                self._tensor(self.spec.scale_mu(replay.mu[rows])),
                self._tensor(replay.targets[rows]),
                constants[..., list(self.local.background_flow)],
            ),
            constants=constants,
            actions=along((replay.actions[at, :, times] - middle) / half),
            states=along(replay.observations[at, :, times + 1][..., self.state]),
            costs=along(replay.costs[at, :, times]),
            mu=replay.mu[rows.ravel()],
        )

    def starts(
        self, replay: Replay, generator: np.random.Generator, count: int, anywhere: bool
    ) -> Piece:
        """Starts of imagined episodes: first states of real ones, or any.

        Where the local model has free starts, the state is that of one episode and mu, targets and
        the background flow those of another.
        """
        known = np.flatnonzero(replay.lengths)
        rows = generator.choice(known, (self.members, count))
        first = np.zeros_like(rows)
        if anywhere:
            first = np.floor(generator.random(rows.shape) * replay.lengths[rows]).astype(np.int64)
        piece = self.cut(replay, rows, first, 0)
        if not self.local.free_start:
            return piece
        others = generator.choice(known, rows.shape)
        other = self.cut(replay, others, np.zeros_like(rows), 0)
        return other._replace(history=piece.history)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32, device=self.device)


def push(history: Tensor, state: Tensor) -> Tensor:
    """The history one step later."""
    if history.shape[3] == 1:
        return state[..., None, :]
    return torch.cat([history[..., 1:, :], state[..., None, :]], dim=3)


def predict(surrogate: Surrogate, piece: Piece) -> tuple[Tensor, Tensor]:
    """States (C, B, n, L, s) and shares (C, B, n, L) predicted in a row under the real actions.

    Costs have a gradient through the cost's networks only, not through the states.
    """
    history, states, costs = piece.history, [], []
    for k in range(piece.actions.shape[3]):
        actions = piece.actions[..., k, :]
        following = surrogate.dynamics(history, actions, piece.fixed)
        ends = history[..., -1, :].detach(), following.detach()
        costs.append(surrogate.cost(*ends, actions, piece.fixed))
        states.append(following)
        history = push(history, following)
    return torch.stack(states, dim=3), torch.stack(costs, dim=3)


def imagine(
    surrogate: Surrogate,
    views: Views,
    start: Piece,
    policy: Callable[[Tensor], Tensor],
    steps: int,
    *,
    noise: Sequence[Tensor] = (),
    backward_discount: float = 1.0,
    cutoff: Callable[[Tensor, Tensor, Fixed], Tensor] | None = None,
) -> Imagined:
    """``steps`` control steps of ``policy`` (observations (C, B, n, k) -> unit actions).

    Differentiable in the parameters of the policy. ``noise`` (T of (C, B, n, m)) is added to the
    actions. ``backward_discount`` scales gradients that go back through a state, once per step.
    ``cutoff(history, actions, fixed)`` (C, B) says which imagined steps still count.
    """
    history, weight = start.history, start.history.new_ones(start.history.shape[:2])
    seen, done, costs, weights = [views.observe(history[..., -1, :], start.constants)], [], [], []
    for k in range(steps):
        actions = policy(seen[-1])
        if len(noise):
            actions = (actions + noise[k]).clamp(-1.0, 1.0)
        if cutoff is not None:
            weight = weight * cutoff(history, actions, start.fixed)
        following, shares = surrogate(history, actions, start.fixed)
        history = push(history, following)
        if backward_discount < 1.0:
            rest = (1.0 - backward_discount) * history.detach()
            history = backward_discount * history + rest
        done.append(actions)
        costs.append(shares)
        weights.append(weight)
        seen.append(views.observe(following, start.constants))
    return Imagined(
        torch.stack(seen, dim=3),
        torch.stack(done, dim=3),
        torch.stack(costs, dim=3),
        torch.stack(weights, dim=2),
    )
