"""What a surrogate of the local dynamics may know of a plant: which observations are state, what
they make of each other's, and, of densities, the cost as a formula of patch means and actions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypemarl.coupling.plant import Plant
from hypemarl.mpi import sum_over_ranks
from hypemarl.systems.density.plant import DensityPlant
from hypemarl.systems.flow.plant import FlowPlant
from hypemarl.systems.shape.plant import ShapePlant


@dataclass(frozen=True, eq=False)
class DensityForm:
    """Shares of J in a control interval by patch means m and actions a, exact in the actions.

    share_i = interval (1/2 measures_i (e_i^2 + |s_i|^2 / 12) + 1/2 boundary_i m_i^2
                        + a^T control_i a)

    with e = m - d, d the target's patch means; s_i the differences of e across patch i, of which a
    linear profile has the variance |s_i|^2 / 12; a the actions of ``near`` agents, summed over
    components. Terms of the state by the trapezoidal rule between the interval's ends.
    """

    interval: float
    measures: np.ndarray
    """(n,) of the patches"""
    boundary: np.ndarray
    """(n,) boundary weight times the measure of the patch's part of the boundary"""
    near: np.ndarray
    """(n, K) agents whose actions reach the patch, -1 where there is none"""
    slopes: np.ndarray
    """(axes, n, K) weights of e at ``near`` agents in s: central differences, one-sided at walls"""
    control: np.ndarray
    """(n, K, K) forms of beta/2 ||u||^2 + beta_g/2 ||grad u||^2 over the patch"""


@dataclass(frozen=True, eq=False)
class LocalModel:
    """How local states make up the agents' observations."""

    state: tuple[int, ...]
    """columns of an observation that are the agent's own state: s numbers that the plant changes"""
    shown: np.ndarray
    """(k, 2) of every column: which of the seen agents, and which of its state's numbers it shows;
    (-1, -1) where it stays as it is through an episode"""
    seen: np.ndarray
    """(n, K) agents whose states an observation shows, -1 for zeros"""
    carrier: tuple[int, ...] = ()
    """columns with the velocity of a flow that carries the state, none where there is none"""
    density: DensityForm | None = None
    """there where the state is a mean density that a patch can only lose to its neighbours"""
    free_start: bool = False
    """whether an episode may start in the first state of one with other mu and targets"""


def local_model_of(plant: Plant) -> LocalModel:
    """The local model of any plant of this package. Collective.

    Raises:
        TypeError: the plant is of another kind.
    """
    if isinstance(plant, DensityPlant):
        return _density(plant)
    if isinstance(plant, FlowPlant | ShapePlant):
        return _seen_alike(plant)
    raise TypeError(
        f"no local model of {type(plant).__name__}: expected a density, flow or shape plant; write "
        "a hypemarl.systems.local_model.LocalModel for it"
    )


def _density(plant: DensityPlant) -> LocalModel:
    seen, radius = plant.sensors.size, plant.config.observation_radius
    shown = np.full((plant.observation_size, 2), -1, dtype=np.int64)
    shown[:seen, 0], shown[:seen, 1] = np.arange(seen), 0
    extra = plant.observation_size - seen * (2 if plant.options.observe_target else 1)
    return LocalModel(
        state=(seen // 2,),
        shown=shown,
        seen=plant.stencil(radius),
        carrier=tuple(range(plant.observation_size - extra, plant.observation_size)),
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


def _seen_alike(plant: FlowPlant | ShapePlant) -> LocalModel:
    """Observations are the same numbers of every agent that is seen."""
    radius = plant.config.observation_radius
    seen = plant.stencil(radius)
    features = plant.observation_size // seen.shape[1]
    columns = np.arange(plant.observation_size)
    own = features * (seen.shape[1] // 2)
    return LocalModel(
        state=tuple(range(own, own + features)),
        shown=np.stack([columns // features, columns % features], axis=1),
        seen=seen,
    )
