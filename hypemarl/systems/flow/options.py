"""Settings of flow control (``env.flow.*``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hypemarl.config.errors import indivisible, misordered, refuse
from hypemarl.config.keys import LinearSolver, key
from hypemarl.config.schema import Config, options_of
from hypemarl.systems.registry import System, deferred

Inflow = Literal["parabolic", "oblique"]
Walls = Literal["no-slip", "slip"]
Objective = Literal["drag", "dissipation"]
LiftTerm = Literal["squared", "absolute-mean"]
Power = Literal["net", "gross"]
ArcAction = Literal["normal", "tangential", "normal-tangential"]


@dataclass(frozen=True)
class BodyOptions:
    """A body in an incompressible flow: range of flows, discretisation and objective."""

    speed: float = key(1.0, "U, mean (parabolic) or entrance (oblique) velocity", above=0)
    reynolds_low: float = key(
        100.0,
        "lowest Re = U D / viscosity, D the diameter of the disc (shape: of the equal-area circle)",
        above=0,
    )
    reynolds_high: float = key(100.0, "highest Re", above=0)
    angle_low: float = key(0.0, "lowest inflow angle a in rad (oblique)", low=-1.5, high=1.5)
    angle_high: float = key(0.0, "highest inflow angle", low=-1.5, high=1.5)
    time_step: float = key(0.002, "time step of the unsteady solver", above=0)
    cfl_limit: float = key(
        2.0,
        "largest Courant number; control intervals that exceed it are repeated with shorter time "
        "steps, down to an eighth",
        above=0,
    )
    linear_solver: LinearSolver = key(
        "auto", "auto, by mesh size: PETSc's LU (a copy on every rank), MUMPS, iterative"
    )
    objective: Objective = key("drag", "drag (and lift) or dissipation")
    drag_weight: float = key(1.0, "weight of the drag coefficient in J", low=0)
    lift_weight: float = key(0.2, "weight of the lift term in J", low=0)
    beta: float = key(0.05, "weight of 1/2 ||u||^2", low=0)
    beta_g: float = key(0.01, "weight of 1/2 ||grad u||^2", low=0)
    ramp: float = key(1.0, "share of a control interval over which actions ramp", above=0, high=1)


@dataclass(frozen=True)
class FlowOptions(BodyOptions):
    """Agents that set the velocity on arcs of a disc in a channel."""

    inflow: Inflow = key(
        "parabolic",
        "parabolic: 6 U s (H - s) / H^2; oblique: (U cos a, 4 U s (H - s) / H^2 sin a)",
    )
    walls: Walls = key("no-slip", "side walls: no-slip, or slip (no flow through them)")
    action: ArcAction = key(
        "normal",
        "velocity components that an agent controls; tangential with one agent turns the disc",
    )
    slots: tuple[tuple[float, ...], ...] = key(
        (),
        "jets of every agent in place of arcs, angles in degrees; the first blows with the action, "
        "its others share the opposite: [[90, 270]] is one agent with opposite jets",
    )
    slot_half_width: float = key(10.0, "half width of a slot in degrees", above=0, high=90)
    smoothing: float = key(
        0.0,
        "share of the way to the action that amplitudes go in smoothing_time; 0: they ramp (env."
        "flow.ramp) and reach it",
        low=0,
        high=1,
    )
    smoothing_time: float = key(0.01, "time of the smoothing, in diameter / U", above=0)
    lift: LiftTerm = key(
        "squared",
        "lift in J: C_L^2, or the absolute value of the mean of C_L over a control interval",
    )
    power_weight: float = key(
        0.0,
        "weight of the jets' power in J: C_P = 2 P / (rho U^3 D) with objective=drag, so that 1 "
        "counts it like the power that drag takes; P / (2 nu) with objective=dissipation",
        low=0,
    )
    power: Power = key(
        "gross", "power in J: gross, where pumps recover nothing, or net of what the flow returns"
    )
    u_max: float = key(1.0, "bound of every velocity amplitude, |u| <= u_max", above=0)
    arc_low: float = key(0.0, "first angle of the actuated arc, degrees anticlockwise from +x")
    arc_high: float = key(360.0, "last angle of the actuated arc; arc_low + 360: the whole disc")
    probe_distances: tuple[float, ...] = key(
        (0.1, 0.35, 0.8), "distances of an agent's probes from the disc, in diameters", low=0
    )
    sensors: str = key(
        "",
        "probes that every agent sees, beside its own: wake-151, or a text file of points, in "
        "diameters from the disc's centre",
    )
    phase_time: float = key(
        0.0,
        "longest time, in diameter / U, that an episode's first state is marched on from the "
        "developed one; the parameter phase in [0, 1) is the share of it. 0: no such parameter",
        low=0,
    )
    phase_noise: float = key(
        0.0,
        "amplitude, in U, of random tangential motions of the disc meanwhile, which follow from "
        "the phase",
        low=0,
    )
    states: int = key(8, "number of developed states from which training episodes start", low=1)
    develop_time: float = key(
        10.0, "time from rest after which a flow counts as developed", above=0
    )


def check(config: Config) -> None:
    """Refuse agents, mesh, arc and time steps that do not go together. Raises ConfigError."""
    env, mesh = config.env, config.env.mesh
    flow = options_of(env, FlowOptions)
    span, interval = flow.arc_high - flow.arc_low, env.control_interval
    slots = len(flow.slots)
    refuse(
        (
            bool(slots) and list(env.agents) != [slots],
            f"env.agents: expected [{slots}], as many as env.flow.slots has entries, got "
            f"{list(env.agents)}",
        ),
        (
            any(not angles for angles in flow.slots),
            f"env.flow.slots: expected one angle or more for every agent, got "
            f"{[list(angles) for angles in flow.slots]}",
        ),
        (
            flow.phase_noise > 0 and not flow.phase_time,
            "env.flow.phase_noise acts while the phase is marched: give env.flow.phase_time",
        ),
        (
            "phase" in env.context and not flow.phase_time,
            "env.context names phase, which is a parameter only with env.flow.phase_time",
        ),
        (
            len(env.agents) != 1,
            f"env.agents: a flow's agents share an arc, expected one number, got "
            f"{list(env.agents)}",
        ),
        (
            mesh.file is None and mesh.shape != "channel-with-disc",
            f"env.mesh.shape={mesh.shape} has no disc in a channel; env.system=flow needs "
            "channel-with-disc or a mesh file",
        ),
        *misordered(flow, "env.flow", "reynolds", "angle"),
        (
            not 0 < span <= 360,
            f"env.flow.arc_high - arc_low: expected more than 0 and at most 360 degrees, got "
            f"{span:g}",
        ),
        (
            flow.time_step > interval,
            f"env.flow.time_step ({flow.time_step:g}) exceeds the control interval "
            f"({interval:g} = horizon / control_steps)",
        ),
        indivisible("env.flow", flow.time_step, interval),
        (
            flow.inflow == "parabolic" and (flow.angle_low, flow.angle_high) != (0.0, 0.0),
            "env.flow.angle_low, angle_high: a parabolic inflow has no angle; leave them 0 or take "
            "env.flow.inflow=oblique",
        ),
        (
            not flow.probe_distances and not flow.sensors,
            "env.flow.probe_distances is empty: agents would see nothing of the flow; give some, "
            "or env.flow.sensors",
        ),
    )


FLOW = System(
    name="flow",
    make=deferred("hypemarl.systems.flow.plant:make"),
    examine=deferred("hypemarl.systems.flow.mesh_checks:examine"),
    options=FlowOptions,
    check=check,
    parameters=("reynolds", "angle", "phase"),
    aliases={name: name for name in ("beta", "beta_g", "u_max")},
)
