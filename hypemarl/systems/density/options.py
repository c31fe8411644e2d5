"""Settings of density control (``env.density.*``, in a fluid ``env.density-fluid.*``)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from hypemarl.config.errors import ConfigError, misordered, refuse
from hypemarl.config.keys import key
from hypemarl.config.schema import Config, EnvConfig, options_of
from hypemarl.systems.registry import System, deferred


@dataclass(frozen=True)
class DensityOptions:
    """Fokker-Planck control: diffusion, cost weights, initial and target densities."""

    viscosity: float = key(1e-3, "nu, the diffusion coefficient of the density", above=0)
    max_time_step: float = key(
        0.01, "upper bound of the solver's time step (CFL may lower it)", above=0
    )
    u_max: float = key(1.0, "bound of every velocity amplitude, |u| <= u_max", above=0)
    beta: float = key(0.05, "weight of 1/2 ||u||^2", low=0)
    beta_g: float = key(0.01, "weight of 1/2 ||grad u||^2", low=0)
    boundary_weight: float = key(0.1, "weight of 1/2 ||y||^2 on the boundary", low=0)
    initial_low: tuple[float, ...] = key((-0.5, -0.5), "lower corner of the box of c0")
    initial_high: tuple[float, ...] = key((0.0, 0.5), "upper corner of the box of c0")
    target_low: tuple[float, ...] = key((0.0, -0.5), "lower corner of the box of c_d")
    target_high: tuple[float, ...] = key((0.5, 0.5), "upper corner of the box of c_d")
    drop_agents_outside: bool = key(
        False, "leave out agents whose grid boxes lie outside the domain"
    )
    observe_target: bool = key(False, "also observe the target density on the observed patches")


@dataclass(frozen=True)
class InFluidOptions(DensityOptions):
    """Density control in a steady flow around a disc, of any speed and inflow angle."""

    speed_low: float = key(0.1, "lowest entrance velocity", low=0)
    speed_high: float = key(1.0, "highest entrance velocity", above=0)
    angle_low: float = key(0.0, "lowest inflow angle in rad", low=-1.5, high=1.5)
    angle_high: float = key(0.0, "highest inflow angle", low=-1.5, high=1.5)
    flow_viscosity: float = key(0.01, "viscosity of the flow", above=0)
    linear_solver: Literal["auto", "lu", "redundant", "mumps"] = key(
        "auto", "factorisation for the flow; auto: PETSc's LU, MUMPS on larger meshes"
    )
    observe_flow: bool = key(True, "also observe the mean flow over the agent's patch")


def check(config: Config) -> None:
    """Refuse agents, meshes and boxes that do not go together. Raises ConfigError."""
    env = config.env
    options = options_of(env, DensityOptions)
    _check_geometry(env)
    _check_boxes(env, options)
    if env.reward_baseline:
        raise ConfigError(
            f"env.reward_baseline is not for env.system={env.system}: the cost of an uncontrolled "
            "density changes too fast to count from"
        )


def check_in_fluid(config: Config) -> None:
    """Check as :func:`check` does, and the settings of the flow. Raises ConfigError."""
    check(config)
    env = config.env
    options, mesh = options_of(env, InFluidOptions), env.mesh
    refuse(
        (
            mesh.file is None and mesh.shape != "square-with-disc",
            f"env.mesh.shape={mesh.shape} has no disc in a square; env.system={env.system} "
            "needs square-with-disc or a mesh file",
        ),
        *misordered(options, f"env.{env.system}", "speed", "angle"),
    )


def _check_geometry(env: EnvConfig) -> None:
    mesh = env.mesh
    width = mesh.upper - mesh.lower
    if width <= 0:
        raise ConfigError(f"env.mesh.lower ({mesh.lower}) must be below upper ({mesh.upper})")
    if len(env.agents) not in (1, 2):
        raise ConfigError(f"env.agents: expected 1 or 2 axes, got {list(env.agents)}")
    if mesh.file is not None:
        return
    dimension = 1 if mesh.shape == "interval" else 2
    if len(env.agents) != dimension:
        raise ConfigError(
            f"env.agents {list(env.agents)} has {len(env.agents)} axes, but env.mesh.shape="
            f"{mesh.shape} has {dimension}; give one number of agents per axis"
        )
    if mesh.shape == "square-with-disc" and 2 * mesh.disc_radius >= width:
        raise ConfigError(f"env.mesh.disc_radius ({mesh.disc_radius}) does not fit width {width}")
    if mesh.element_size > width / max(env.agents):
        raise ConfigError(
            f"env.mesh.element_size ({mesh.element_size}) exceeds an agent's patch "
            f"({width / max(env.agents):g}); take smaller elements or fewer agents"
        )


def _check_boxes(env: EnvConfig, options: DensityOptions) -> None:
    axes, where = len(env.agents), f"env.{env.system}"
    for name in ("initial", "target"):
        low, high = getattr(options, f"{name}_low"), getattr(options, f"{name}_high")
        if len(low) != axes or len(high) != axes:
            raise ConfigError(
                f"{where}.{name}_low and {name}_high need {axes} entries, one per axis of "
                f"env.agents, got {list(low)} and {list(high)}"
            )
        if any(a > b for a, b in zip(low, high, strict=True)):
            raise ConfigError(f"{where}.{name}_low {list(low)} exceeds {name}_high {list(high)}")
        outside = min(low) < env.mesh.lower or max(high) > env.mesh.upper
        if env.mesh.file is None and outside:
            raise ConfigError(
                f"{where}.{name}_low {list(low)} .. {name}_high {list(high)} leaves the domain "
                f"[{env.mesh.lower}, {env.mesh.upper}]"
            )


DENSITY = System(
    name="density",
    make=deferred("hypemarl.systems.density.plant:make"),
    examine=deferred("hypemarl.systems.density.mesh_checks:examine"),
    options=DensityOptions,
    check=check,
    context=("target",),
    parameters=("target", "initial"),
    aliases={item.name: item.name for item in fields(DensityOptions)},
)
IN_FLUID = System(
    name="density-fluid",
    make=deferred("hypemarl.systems.density.in_fluid:make"),
    examine=deferred("hypemarl.systems.density.mesh_checks:examine"),
    options=InFluidOptions,
    check=check_in_fluid,
    context=("target",),
    parameters=("target", "initial", "speed", "angle"),
    aliases=dict(DENSITY.aliases)
    | {"observe_flow": "observe_flow", "flow.viscosity": "flow_viscosity"}
    | {
        f"flow.{name}": name
        for name in ("speed_low", "speed_high", "angle_low", "angle_high", "linear_solver")
    },
)
