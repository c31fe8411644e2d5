"""Settings of an obstacle whose boundary agents move (``env.shape.*``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import isqrt
from typing import Literal

from hypemarl.config.errors import indivisible, misordered, refuse
from hypemarl.config.keys import Displacement, key
from hypemarl.config.schema import Config, EnvConfig, options_of
from hypemarl.systems.flow.options import BodyOptions
from hypemarl.systems.registry import System, deferred

Mode = Literal["steady", "unsteady"]


@dataclass(frozen=True)
class ShapeOptions(BodyOptions):
    """Motion of an obstacle's boundary, and bounds on its shape (docs/morphing.md).

    R is the radius of the circle with the area of the reference shape.
    """

    inflow: Literal["uniform"] = key(
        "uniform", "uniform: U (cos a, sin a) at the inflow and the side walls"
    )
    linear_solver: Literal["auto", "lu", "mumps"] = key(
        "auto", "factorisation for the flow; auto: PETSc's LU, MUMPS on larger meshes"
    )
    u_max: float = key(1.0, "bound on actions, in units of amplitude; must be 1", above=0)
    mode: Mode = key(
        "steady", "steady: steady flow around each shape; unsteady: flow while the shape moves"
    )
    displacement: Displacement = key(
        "radial-fourier", "parametrisation of the displacement: radial-*, normal-* or free-form"
    )
    lag: float = key(
        0.5, "share of the distance to the target amplitudes covered in a step", above=0, high=1
    )
    amplitude: float = key(0.5, "largest amplitude over R, reached by actions of size 1", above=0)
    area: float = key(1.0, "area of all shapes over that of the reference", above=0)
    max_curvature: float | None = key(
        None, "largest curvature times R; null: twice the reference's, at least 6", above=0
    )
    min_thickness: float | None = key(
        None, "smallest thickness over R; null: half the reference's, at most 1/2", above=0
    )
    min_quality: float = key(0.2, "smallest radius ratio of a cell", above=0, high=1)
    remesh: bool = key(
        False, "remesh below min_quality (no gradients then); else the quality limits the shape"
    )


def check(config: Config) -> None:
    """Refuse agents, mesh, flow or bounds that do not go together. Raises ConfigError."""
    env, mesh = config.env, config.env.mesh
    shape = options_of(env, ShapeOptions)
    free = shape.displacement == "free-form"
    count = env.agents[0]
    refuse(
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
            shape.u_max != 1.0,
            f"env.shape.u_max={shape.u_max:g}: actions are in units of their bound, expected 1; "
            "bound them by env.shape.amplitude",
        ),
        *misordered(shape, "env.shape", "reynolds", "angle"),
        *_unsteady(env, shape),
    )


def _unsteady(env: EnvConfig, shape: ShapeOptions) -> Iterator[tuple[bool, str]]:
    """Conditions on time steps, true where one is violated, and their messages."""
    if shape.mode == "unsteady":
        yield indivisible("env.shape", shape.time_step, env.control_interval)
        yield (
            shape.remesh,
            "env.shape.remesh: a flow that moves with its mesh keeps it; with "
            "env.shape.mode=unsteady the mesh limits the shape",
        )


SHAPE = System(
    name="shape",
    make=deferred("hypemarl.systems.shape.unsteady:make"),
    examine=deferred("hypemarl.systems.shape.layout:examine"),
    options=ShapeOptions,
    check=check,
    parameters=("reynolds", "angle"),
    aliases={"beta": "beta", "beta_g": "beta_g", "u_max": "u_max", "flow.inflow": "inflow"}
    | {f"flow.{item.name}": item.name for item in fields(BodyOptions)},
)
