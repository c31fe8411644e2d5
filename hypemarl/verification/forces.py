"""Forces on a body with jets and their power: against a control volume and the energy balance."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem

from hypemarl import config as configuration
from hypemarl import seeding
from hypemarl.config import EnvConfig
from hypemarl.coupling.actuators import smoothstep
from hypemarl.mpi import sum_over_ranks, world
from hypemarl.systems.flow.plant import FlowPlant, make
from hypemarl.verification.report import Report

FINE = (
    "env.mesh.element_size=0.0209",
    "env.mesh.disc_element_size=0.0034",
    "env.flow.time_step=0.00078125",
    "env.flow.reynolds_low=100",
    "env.flow.reynolds_high=100",
    "env.flow.cfl_limit=3",
)
"""Mesh of about 7,500 triangles, 96 facets on the disc; half the time step of training."""
INNER, OUTER = 1.3, 3.0
"""Radii between which the control volume ends, in radii of the disc."""
INTERVALS = 12


def forces(overrides: tuple[str, ...] = FINE, intervals: int = INTERVALS) -> Report:
    """C_D, C_L and C_P of ``flow-cylinder-free`` under random jets, after every control interval.

    Forces: the balance of momentum in a control volume with a smooth end, which uses no value at
    the wall. Power: growth of kinetic energy = pumping + jets - dissipation. The trace of jets that
    oppose each other: their momentum has no part along the stream.

    Collective.
    """
    report = Report(
        "Forces and power of jets: control volume, energy balance (flow-cylinder-free, Re 100)"
    )
    plant = _plant(overrides)
    balance = _Balance(plant)
    for title, largest in (("no jets", 0.0), ("jets up to 0.25 U", 0.25), ("0.5 U", 0.5)):
        drag, errors, energy = _measure(plant, balance, largest, intervals)
        report.at_most(
            f"{title}: drag against control volume, share of drag", errors[0] / drag, 1e-3
        )
        report.at_most(f"{title}: lift likewise, share of drag", errors[1] / drag, 1e-3)
        report.at_most(f"{title}: energy balance, share of dissipation", energy, 1e-2)
    along, across = _opposite_jets(plant)
    report.at_most("opposite jets: momentum's part of the drag, share of the jets'", along, 1e-3)
    report.note("one jet: momentum's part of the lift", across)
    return report


def _plant(overrides: tuple[str, ...]) -> FlowPlant:
    env: EnvConfig = configuration.load("flow-cylinder-free", list(overrides)).env
    return make(env, world())


def _measure(
    plant: FlowPlant, balance: _Balance, largest: float, intervals: int
) -> tuple[float, np.ndarray, float]:
    """Mean drag, largest errors (2,) of drag and lift, and of the energy balance."""
    generator = seeding.numpy_generator(0, "forces")
    plant.reset(plant.parameter_low)
    drags, errors, energies = [], [], []
    for _ in range(intervals):
        wanted = largest * generator.uniform(-1.0, 1.0, (plant.n_agents, plant.action_size))
        plant.step(wanted)
        assert plant.interval is not None
        found = np.array([plant.interval.drag[-1], plant.interval.lift[-1]])
        balance.update()
        errors.append(np.abs(found - balance.force()))
        energies.append(balance.energy(float(plant.interval.series("power")[-1])))
        drags.append(found[0])
    return float(np.mean(drags)), np.max(errors, axis=0), float(np.max(energies))


def _opposite_jets(plant: FlowPlant) -> tuple[float, float]:
    """Drag by momentum of jets at 90 and 270 degrees, in units of the lift by one of them."""
    nodes, walls = plant.layout.nodes, plant.solver.walls
    angles = plant.layout.disc.angles(plant.space.velocity_points[nodes])
    field = np.zeros((plant.space.n_velocity_local, 2))
    parts = []
    for centre, sign in ((0.5 * np.pi, 1.0), (1.5 * np.pi, -1.0)):
        profile = sign * smoothstep(1.0 - np.abs(angles - centre) / np.radians(20.0))
        field[:] = 0.0
        field[nodes] = (profile * np.array([np.cos(angles), np.sin(angles)])).T
        parts.append(walls.momentum(field)[nodes].sum(axis=0).copy())
    totals = plant.cost.coefficient * sum_over_ranks(plant.comm, np.array(parts))
    return abs(float(totals[:, 0].sum())) / abs(float(totals[0, 1])), float(totals[0, 1])


class _Balance:
    """Balances of momentum and of energy in the state of a plant. Collective."""

    def __init__(self, plant: FlowPlant) -> None:
        self.plant = plant
        mesh = plant.space.mesh
        element = ("Lagrange", 2, (2,))
        self.v, self.rate = (fem.Function(fem.functionspace(mesh, element)) for _ in range(2))
        self.p = fem.Function(fem.functionspace(mesh, ("Lagrange", 1)))
        self.viscosity = fem.Constant(mesh, 1.0)
        v, p = self.v, self.p
        x, disc = ufl.SpatialCoordinate(mesh), plant.layout.disc
        distance = ufl.sqrt((x[0] - disc.centre[0]) ** 2 + (x[1] - disc.centre[1]) ** 2)
        end = (OUTER - distance / disc.radius) / (OUTER - INNER)
        t = ufl.max_value(0.0, ufl.min_value(1.0, end))
        weight = t**3 * (10.0 - 15.0 * t + 6.0 * t**2)  # 1 at the disc, 0 outside, C2
        stress = 2.0 * self.viscosity * ufl.sym(ufl.grad(v)) - p * ufl.Identity(2)
        flux = ufl.dot(stress, ufl.grad(weight)) - v * ufl.dot(v, ufl.grad(weight))
        # int over the volume of weight (rate + div(v v) - div stress) = 0
        along, across = (ufl.as_vector(axis.tolist()) for axis in plant.inflow.axes)
        dx = ufl.dx(metadata={"quadrature_degree": 12})
        self._forces = [
            fem.form((-weight * ufl.dot(self.rate, axis) - ufl.dot(flux, axis)) * dx)
            for axis in (along, across)
        ]
        self._growth = fem.form(ufl.dot(v, self.rate) * ufl.dx)

    def force(self) -> np.ndarray:
        """C_D and C_L by the control volume."""
        parts = [float(np.real(fem.assemble_scalar(form))) for form in self._forces]
        return self.plant.cost.coefficient * sum_over_ranks(self.plant.comm, np.array(parts))

    def energy(self, jets: float) -> float:
        """|growth - pumping - jets + dissipation| as a share of dissipation."""
        plant, solver = self.plant, self.plant.solver
        part = np.array([fem.assemble_scalar(self._growth)])
        growth = float(sum_over_ranks(plant.comm, part)[0])
        dissipation = plant.functionals.dissipation(solver.velocity, solver.viscosity)
        pumping = plant.pumping.evaluate(solver.velocity.T, solver.pressure)
        supplied = pumping + jets / plant.cost.power_coefficient
        return abs(growth - supplied + dissipation) / dissipation

    def update(self) -> None:
        """Take over the present state, first of all."""
        solver, n = self.plant.solver, self.plant.space.n_velocity_local
        self.v.x.array.reshape(-1, 2)[:] = solver.velocity.T
        self.rate.x.array.reshape(-1, 2)[:] = solver.snapshot().rate[:n]
        self.p.x.array[:] = solver.pressure
        self.viscosity.value = solver.viscosity
