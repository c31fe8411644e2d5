"""Settings of a shape environment that are fine one by one and cannot work together."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt

from hypemarl.config.errors import ConfigError
from hypemarl.config.ranges import misordered
from hypemarl.config.schema import EnvConfig


def check_shape(env: EnvConfig) -> None:
    """Raise ConfigError where agents, mesh, flow or bounds of ``env`` do not go together."""
    flow, mesh, shape = env.flow, env.mesh, env.shape
    free = shape.displacement == "free-form"
    count = env.agents[0]
    for fails, message in (
        (
            len(env.agents) != 1,
            f"env.agents: a shape's agents stand around it, expected one number, got "
            f"{list(env.agents)}",
        ),
        (
            not free and count < 4,
            f"env.agents={count}: expected at least 4 agents around the obstacle",
        ),
        (
            free and (isqrt(count) ** 2 != count or count < 4),
            f"env.agents={count}: env.shape.displacement=free-form has a square lattice of control "
            "points; take 4, 9, 16 or 25 agents",
        ),
        (
            mesh.file is None and mesh.shape != "channel-with-obstacle",
            f"env.mesh.shape={mesh.shape} has no obstacle whose boundary can move; "
            "env.system=shape needs channel-with-obstacle or a mesh file",
        ),
        (
            flow.inflow != "uniform",
            f"env.flow.inflow={flow.inflow}: env.system=shape has the same stream on the inflow "
            "and at the side walls; take env.flow.inflow=uniform",
        ),
        *misordered(flow, "reynolds", "angle"),
        (
            flow.linear_solver in ("iterative", "redundant"),
            f"env.flow.linear_solver={flow.linear_solver}: a steady flow needs a factorisation; "
            "take auto, mumps or lu",
        ),
        *_unsteady(env),
        (
            env.u_max != 1.0,
            f"env.u_max={env.u_max:g}: actions of env.system=shape are in units of "
            "env.shape.amplitude; set that and leave env.u_max at 1",
        ),
    ):
        if fails:
            raise ConfigError(message)


def _unsteady(env: EnvConfig) -> Iterator[tuple[bool, str]]:
    """What time steps demand, and whether it is missing."""
    if env.shape.mode == "unsteady":
        steps = env.control_interval / env.flow.time_step
        yield (
            abs(steps - round(steps)) > 1e-9 or steps < 1.0,
            f"env.flow.time_step ({env.flow.time_step:g}) must divide the control interval "
            f"({env.control_interval:g}); take {env.control_interval / max(1, round(steps)):.6g}",
        )
        yield (
            env.shape.remesh,
            "env.shape.remesh: a flow that moves with its mesh keeps it; with "
            "env.shape.mode=unsteady the mesh limits the shape",
        )
