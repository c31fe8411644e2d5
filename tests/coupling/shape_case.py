"""A small morphing obstacle that the tests of this and of other folders share, also on ranks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from mpi4py import MPI

from hypemarl.config import EnvConfig, MeshConfig
from hypemarl.mpi import world
from hypemarl.systems.shape.options import ShapeOptions
from hypemarl.systems.shape.plant import ShapePlant

MESH = MeshConfig(
    shape="channel-with-obstacle",
    length=3.0,
    height=2.0,
    disc_centre=(1.0, 1.0),
    obstacle_length=0.4,
    element_size=0.5,
    disc_element_size=0.053,
)
"""About 400 triangles, 24 facets on the obstacle."""
OPTIONS = ShapeOptions(
    reynolds_low=20.0,
    reynolds_high=40.0,
    angle_low=-0.5,
    angle_high=0.5,
    lift_weight=0.0,
    beta=0.3,
    beta_g=0.2,
)
PARAMETERS = np.array([30.0, 0.3])


def shape_config(agents: int = 8, flow: dict[str, Any] | None = None, **shape: Any) -> EnvConfig:
    """Four control steps of 8 agents; ``flow`` and ``shape`` change options."""
    return EnvConfig(
        system="shape",
        mesh=MESH,
        options=replace(OPTIONS, **(flow or {}), **shape),
        agents=(agents,),
        horizon=2.0,
        control_steps=4,
        observation_radius=1,
        context=("reynolds", "angle"),
    )


def shape_plant(config: EnvConfig | None = None, comm: MPI.Intracomm | None = None) -> ShapePlant:
    """A plant, on the world where no communicator is given."""
    return ShapePlant(config or shape_config(), comm or world())
