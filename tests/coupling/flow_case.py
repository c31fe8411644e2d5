"""A small flow past a disc that tests share, also on several ranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from hypemarl.config import EnvConfig, MeshConfig
from hypemarl.meshing import RawMesh, build, distribute
from hypemarl.meshing.shapes import generate
from hypemarl.mpi import world
from hypemarl.solvers.taylor_hood import TaylorHood
from hypemarl.systems.flow.options import FlowOptions
from hypemarl.systems.flow.plant import FlowPlant

MESH = MeshConfig(
    shape="channel-with-disc",
    length=1.0,
    height=0.41,
    disc_radius=0.05,
    element_size=0.1,
    disc_element_size=0.014,
)
LONG = MeshConfig(
    shape="channel-with-disc",
    length=20.0,
    height=0.41,
    disc_radius=0.05,
    element_size=0.1,
    disc_element_size=0.014,
)
PARAMETERS = np.array([100.0, 0.0])


def flow_config(mesh: MeshConfig = MESH, agents: int = 6, **flow: Any) -> EnvConfig:
    """Two control intervals of four time steps; a short development from rest."""
    settings = {"time_step": 0.002, "develop_time": 0.3, "cfl_limit": 2.0, "states": 2}
    settings |= {"beta": 1.0, "beta_g": 1e-3} | flow
    return EnvConfig(
        system="flow",
        mesh=mesh,
        options=FlowOptions(**settings),
        agents=(agents,),
        horizon=0.016,
        control_steps=2,
        observation_radius=1,
    )


def flow_plant(
    cache: Path, config: EnvConfig | None = None, comm: MPI.Intracomm | None = None
) -> FlowPlant:
    """A plant, on the world where no communicator is given."""
    config = config or flow_config()
    return FlowPlant(config, build(config.mesh, comm or world()), cache)


def turned(raw: RawMesh, degrees: float) -> RawMesh:
    """The mesh turned anticlockwise around the origin."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return replace(raw, points=raw.points @ np.array([[cos, sin], [-sin, cos]]))


def turned_plant(
    cache: Path, degrees: float, config: EnvConfig, comm: MPI.Intracomm | None = None
) -> FlowPlant:
    """A plant whose whole mesh is turned, likewise."""
    raw = turned(generate(config.mesh), degrees)
    return FlowPlant(config, distribute(raw, comm or world()), cache)


def flow_space(mesh: MeshConfig = MESH, comm: MPI.Intracomm | None = None) -> TaylorHood:
    """Spaces, likewise."""
    return TaylorHood(build(mesh, comm or world()))
