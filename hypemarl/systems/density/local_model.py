"""Local model of the density plants: states are patch means, their cost is a formula of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hypemarl.coupling.local_model import DensityForm, LocalModel
from hypemarl.mpi import sum_over_ranks

if TYPE_CHECKING:
    from hypemarl.systems.density.plant import DensityPlant


def local_model(plant: DensityPlant) -> LocalModel:
    """The local model of a density's plant: patch means, and the cost as a formula. Collective."""
    seen, radius = plant.sensors.seen.size, plant.config.observation_radius
    shown = np.full((plant.observation_size, 2), -1, dtype=np.int64)
    shown[:seen, 0], shown[:seen, 1] = np.arange(seen), 0
    extra = plant.observation_size - seen * (2 if plant.options.observe_target else 1)
    return LocalModel(
        state=(seen // 2,),
        shown=shown,
        seen=plant.stencil(radius),
        background_flow=tuple(range(plant.observation_size - extra, plant.observation_size)),
        density=_density_form(plant),
        free_start="initial" not in plant.config.context,
    )


def _density_form(plant: DensityPlant) -> DensityForm:
    config, space, owners = plant.config, plant.space, plant.layout.owners
    n, near = plant.n_agents, plant.stencil(1)
    facets = owners[space.facet_cells]
    boundary = np.bincount(facets, space.facet_measures, minlength=n)
    control = np.zeros((n, near.shape[1], near.shape[1]))
    for i in range(n):
        control[i] = _control_form(plant, np.flatnonzero(owners == i), near[i])
    return DensityForm(
        interval=config.control_interval,
        measures=plant.sensors.measures,
        boundary=plant.options.boundary_weight * sum_over_ranks(plant.comm, boundary),
        near=near,
        slopes=_slopes(near, len(config.agents)),
        control=sum_over_ranks(plant.comm, control),
    )


def _slopes(near: np.ndarray, axes: int) -> np.ndarray:
    """Differences across a patch along each axis of a grid, from the stencil (n, 3^axes)."""
    weights = np.zeros((axes, *near.shape))
    rows, centre = np.arange(len(near)), near.shape[1] // 2
    for axis in range(axes):
        step = 3 ** (axes - 1 - axis)
        present = near[:, [centre - step, centre + step]] >= 0
        count = np.maximum(present.sum(axis=1), 1)
        for side, sign in ((0, -1.0), (1, 1.0)):
            share = np.where(present[:, side], sign / count, 0.0)
            weights[axis, rows, centre + int(sign) * step] += share
            weights[axis, rows, centre] -= share
    return weights


def _control_form(plant: DensityPlant, cells: np.ndarray, near: np.ndarray) -> np.ndarray:
    """(K, K) this rank's part of the form over ``cells``, zero for agents that do not exist."""
    space = plant.space
    nodes, volumes = space.cells[cells], space.volumes[cells]
    columns = np.where(near >= 0, near, 0)
    rows, place = np.unique(nodes, return_inverse=True)
    psi = plant.actuators.matrix[rows][:, columns].toarray() * (near >= 0)
    psi = psi[place.reshape(nodes.shape)]  # (c, corners, K)
    corners = nodes.shape[1]
    total = psi.sum(axis=1)
    mass = np.einsum("c,ck,cl->kl", volumes, total, total)
    mass += np.einsum("c,cak,cal->kl", volumes, psi, psi)
    mass /= corners * (corners + 1)
    slopes = np.einsum("cak,cag->cgk", psi, space.gradients[cells])
    stiffness = np.einsum("c,cgk,cgl->kl", volumes, slopes, slopes)
    return 0.5 * plant.options.beta * mass + 0.5 * plant.options.beta_g * stiffness
