"""A surrogate of the local dynamics, shared by all agents, learned from real episodes.

The next state of an agent follows from its state, near agents' states and actions. Of a density the
networks give the flux through each face between two patches in a control interval, so that mass is
conserved whatever they learn; of anything else they give the change of each agent's state, at its
place and mu. Costs are the plant's formula applied to the predicted states, with a learned rest, or
learned as a whole where there is no formula.

Tensors are (C, B, n, ...): C members of an ensemble, B episodes of each, n agents. A history (C, B,
n, H, s) holds the present state last. Actions are in units of half their range.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hypemarl.agents.encoding import position_encoding
from hypemarl.agents.hypernetwork import fan_in_normal, run_layers
from hypemarl.algorithms.model_based import SurrogateOptions
from hypemarl.coupling.local_model import LocalModel
from hypemarl.coupling.spec import AgentSpec

PLACE_ENTRIES = 16  # of the encoded place that networks read
PLACE_FREQUENCY = 1.5  # its highest, in rad per agent spacing


class Fixed(NamedTuple):
    """Constants of an episode, for C members and B episodes of each."""

    mu: Tensor
    """(C, B, n_mu), scaled to [-1, 1]"""
    targets: Tensor
    """(C, B, n, q)"""
    flow: Tensor
    """(C, B, n, v) velocities of the background flow, v = 0 where there is none"""


class Design(NamedTuple):
    """Arguments from which the parts of a surrogate are built."""

    local: LocalModel
    spec: AgentSpec
    config: SurrogateOptions
    generator: torch.Generator


class Ensemble(nn.Module):
    """``copies`` small networks, evaluated together: (C, S, in) -> (C, S, out)."""

    def __init__(self, sizes: Sequence[int], copies: int, generator: torch.Generator) -> None:
        super().__init__()
        pairs = list(pairwise(sizes))
        self.weights = nn.ParameterList(
            fan_in_normal(generator, copies, a, b, fan_in=a) for a, b in pairs
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(copies, 1, b)) for _, b in pairs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (C, S, in) -> (C, S, out)."""
        return run_layers(inputs, list(zip(self.weights, self.biases, strict=True)))


def spread(values: Tensor, near: Tensor) -> Tensor:
    """Values (C, B, n, f) at the places ``near`` (F, K), index n giving zeros: (C, B, F, K * f)."""
    padded = torch.cat([values, values.new_zeros(*values.shape[:2], 1, values.shape[3])], dim=2)
    picked = padded.index_select(2, near.reshape(-1))
    return picked.view(*values.shape[:2], len(near), -1)


def padded(near: np.ndarray) -> Tensor:
    """Indices with n in place of -1."""
    return torch.as_tensor(np.where(near < 0, len(near), near))


def constant(module: nn.Module, name: str, values: np.ndarray) -> None:
    """A float32 buffer that moves with the module and is made anew rather than stored."""
    module.register_buffer(name, torch.as_tensor(values, dtype=torch.float32), persistent=False)


class Dynamics(nn.Module):
    """Base of the forms. ``scales`` are set from data before the first fit."""

    state_mean: Tensor
    state_scale: Tensor
    change_scale: Tensor

    def __init__(self, states: int) -> None:
        super().__init__()
        self.register_buffer("state_mean", torch.zeros(states))
        self.register_buffer("state_scale", torch.ones(states))
        self.register_buffer("change_scale", torch.ones(states))

    def forward(self, history: Tensor, actions: Tensor, fixed: Fixed) -> Tensor:
        """Next states (C, B, n, s) of a history (C, B, n, H, s) under actions (C, B, n, m)."""
        raise NotImplementedError

    def scaled(self, history: Tensor) -> Tensor:
        """The history in standard units, flattened: (C, B, n, H * s)."""
        return ((history - self.state_mean) / self.state_scale).flatten(3)


class FluxDynamics(Dynamics):
    """Mean densities of patches on a grid of one or two axes; patches exchange, nothing is lost.

    The flux through a face is a function of the four patches before and behind it along its axis
    and, in 2D, the rows beside them; faces of both axes share it, with components turned.
    """

    share: Tensor
    gain: Tensor

    def __init__(self, design: Design) -> None:
        local, spec, config, generator = design
        super().__init__(1)
        assert local.density is not None
        assert spec.grid is not None
        self.axes, in_flow = len(spec.grid), bool(local.background_flow)
        faces = [_faces(spec.grid, axis) for axis in range(self.axes)]
        for axis, (_, stencil) in enumerate(faces):
            self.register_buffer(f"stencil_{axis}", torch.as_tensor(stencil), persistent=False)
        pairs = np.concatenate([pair for pair, _ in faces])
        # Measures relative to the largest patch; 0 stands outside the domain.
        share = local.density.measures / local.density.measures.max()
        gain = np.zeros((spec.n_agents, len(pairs)))
        gain[pairs[:, 0], np.arange(len(pairs))] = -1.0 / share[pairs[:, 0]]
        gain[pairs[:, 1], np.arange(len(pairs))] = 1.0 / share[pairs[:, 1]]
        constant(self, "share", share)
        constant(self, "gain", gain)
        per_patch = config.memory + 1 + self.axes * (2 if in_flow else 1) + 1
        inputs = per_patch * faces[0][1].shape[1]
        self.network = Ensemble((inputs, *config.hidden, 1), config.ensemble, generator)

    def forward(self, history: Tensor, actions: Tensor, fixed: Fixed) -> Tensor:
        """See :class:`Dynamics`; s is 1."""
        members, episodes, n = history.shape[:3]
        scaled = self.scaled(history)
        share = self.share[:, None].expand(members, episodes, n, 1)
        inputs = []
        for axis in range(self.axes):
            vectors = [actions, fixed.flow]
            turned = [vector.flip(-1) for vector in vectors] if axis else vectors
            entries = torch.cat([scaled, *turned, share], dim=-1)
            inputs.append(spread(entries, getattr(self, f"stencil_{axis}")))
        stacked = torch.cat(inputs, dim=2)
        flux = self.network(stacked.flatten(1, 2)).view(members, episodes, -1)
        change = flux @ self.gain.T * self.change_scale
        return history[..., -1, :] + change[..., None]


def _faces(grid: tuple[int, ...], axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces between neighbours along ``axis``: pairs (F, 2), and the stencil (F, 4 or 12), n
    outside the domain."""
    index = np.pad(
        np.arange(int(np.prod(grid))).reshape(grid), 2, constant_values=int(np.prod(grid))
    )
    index = np.moveaxis(index, axis, 0)
    along, across = grid[axis], [k for a, k in enumerate(grid) if a != axis]
    sideways: list[tuple[slice, ...]] = [()]
    if across:
        sideways = [(slice(1 + k, 1 + k + across[0]),) for k in range(3)]
    columns = [
        index[(slice(first, first + along - 1), *side)].ravel()
        for first in range(1, 5)
        for side in sideways
    ]
    middle = len(sideways) // 2
    stencil = np.stack(columns, axis=1)
    before, behind = len(sideways) + middle, 2 * len(sideways) + middle
    return stencil[:, [before, behind]], stencil


class LocalDynamics(Dynamics):
    """States of any meaning: each changes by a function of its surroundings, place and mu."""

    near: Tensor
    place: Tensor

    def __init__(self, design: Design) -> None:
        local, spec, config, generator = design
        states = len(local.state)
        super().__init__(states)
        self.register_buffer("near", padded(spec.stencil(config.radius)), persistent=False)
        constant(self, "place", place_of(spec))
        per_agent = states * (config.memory + 1) + spec.action_size + len(local.background_flow)
        inputs = per_agent * self.near.shape[1] + self.place.shape[1] + spec.mu_size
        self.network = Ensemble((inputs, *config.hidden, states), config.ensemble, generator)

    def forward(self, history: Tensor, actions: Tensor, fixed: Fixed) -> Tensor:
        """See :class:`Dynamics`."""
        entries = torch.cat([self.scaled(history), actions, fixed.flow], dim=-1)
        inputs = torch.cat([spread(entries, self.near), context(self.place, fixed)], dim=-1)
        change = self.network(inputs.flatten(1, 2)).view(*history.shape[:3], -1)
        return history[..., -1, :] + change * self.change_scale


def place_of(spec: AgentSpec) -> np.ndarray:
    """(n, PLACE_ENTRIES) encoded positions."""
    return position_encoding(spec.positions, PLACE_ENTRIES, spec.spacing, PLACE_FREQUENCY)


def context(place: Tensor, fixed: Fixed) -> Tensor:
    """(C, B, n, e + n_mu) place and mu of every agent."""
    members, episodes, size = fixed.mu.shape
    shape = (members, episodes, len(place), -1)
    mu = fixed.mu[:, :, None].expand(members, episodes, len(place), size)
    return torch.cat([place.expand(*shape), mu], dim=-1)


class LocalCost(nn.Module):
    """Shares of the cost of a control step: a formula, a learned rest, or both."""

    cost_scale: Tensor
    near: Tensor
    place: Tensor

    def __init__(self, design: Design, dynamics: Dynamics) -> None:
        super().__init__()
        local, spec, config, generator = design
        self.dynamics = [dynamics]  # in a list: its parameters are not this module's
        usual = "learned" if local.density is None else "formula"
        kind = usual if config.cost == "auto" else config.cost
        if kind != "learned" and local.density is None:
            raise ValueError(
                f"cost={kind} of the surrogate needs a formula by local states, which this system "
                "has none of; take learned"
            )
        self.form = None if kind == "learned" else Formula(local, spec)
        self.register_buffer("cost_scale", torch.ones(()))
        constant(self, "place", place_of(spec))
        self.network: Ensemble | None = None
        if kind != "formula":
            self.register_buffer("near", padded(spec.stencil(1)), persistent=False)
            per_agent = 2 * len(local.state) + spec.action_size
            per_agent += 1 if local.density is not None else 0
            inputs = per_agent * self.near.shape[1] + self.place.shape[1] + spec.mu_size
            self.network = Ensemble((inputs, *config.hidden, 1), config.ensemble, generator)

    def forward(self, state: Tensor, following: Tensor, actions: Tensor, fixed: Fixed) -> Tensor:
        """Shares (C, B, n) of the step from ``state`` to ``following`` (C, B, n, s)."""
        total = torch.zeros(())
        if self.form is not None:
            total = self.form(state, following, actions, fixed)
        if self.network is None:
            return total
        dynamics = self.dynamics[0]
        entries = [dynamics.scaled(s[..., None, :]) for s in (state, following)] + [actions]
        if self.form is not None:
            entries.append(fixed.targets[..., :1] / dynamics.state_scale)
        near = spread(torch.cat(entries, dim=-1), self.near)
        inputs = torch.cat([near, context(self.place, fixed)], dim=-1)
        rest = self.network(inputs.flatten(1, 2)).view(state.shape[:3])
        return total + self.cost_scale * rest


class Formula(nn.Module):
    """:class:`~hypemarl.coupling.local_model.DensityForm` for torch."""

    measures: Tensor
    boundary: Tensor
    slopes: Tensor
    control: Tensor
    middle: Tensor
    half_range: Tensor
    near: Tensor

    def __init__(self, local: LocalModel, spec: AgentSpec) -> None:
        super().__init__()
        form = local.density
        assert form is not None
        self.interval = form.interval
        self.register_buffer("near", padded(form.near), persistent=False)
        for name in ("measures", "boundary", "slopes", "control"):
            constant(self, name, getattr(form, name))
        constant(self, "middle", spec.action_middle)
        constant(self, "half_range", spec.action_half_range)

    def forward(self, state: Tensor, following: Tensor, actions: Tensor, fixed: Fixed) -> Tensor:
        """Shares (C, B, n) of the step from ``state`` to ``following`` (C, B, n, 1)."""
        rates = [self._rate(means[..., 0], fixed.targets[..., 0]) for means in (state, following)]
        amplitudes = self.middle + self.half_range * actions
        near = spread(amplitudes, self.near).unflatten(-1, (self.near.shape[1], -1))
        control = torch.einsum("cbnkm,nkl,cbnlm->cbn", near, self.control, near)
        return self.interval * (0.5 * (rates[0] + rates[1]) + control)

    def _rate(self, means: Tensor, target: Tensor) -> Tensor:
        """Cost per time (C, B, n) of a state."""
        excess = means - target
        near = spread(excess[..., None], self.near)
        across = torch.einsum("cbnk,ank->cbna", near, self.slopes).square().sum(dim=-1)
        tracking = 0.5 * self.measures * (excess.square() + across / 12.0)
        return tracking + 0.5 * self.boundary * means.square()


class Surrogate(nn.Module):
    """Dynamics and cost of a control step.

    Raises:
        ValueError: a form is asked for that the local model does not allow.
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        local, spec, config, _ = design
        fluxes = local.density is not None and spec.grid is not None and len(spec.grid) in (1, 2)
        form = ("flux" if fluxes else "local") if config.form == "auto" else config.form
        if form == "flux" and not fluxes:
            raise ValueError(
                "form=flux of the surrogate needs a density on a grid of one or two axes of "
                "agents; take local"
            )
        make = FluxDynamics if form == "flux" else LocalDynamics
        self.dynamics: Dynamics = make(design)
        self.cost = LocalCost(design, self.dynamics)

    def forward(self, history: Tensor, actions: Tensor, fixed: Fixed) -> tuple[Tensor, Tensor]:
        """Next states (C, B, n, s) and cost shares (C, B, n) of the step."""
        following = self.dynamics(history, actions, fixed)
        return following, self.cost(history[..., -1, :], following, actions, fixed)
