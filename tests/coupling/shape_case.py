"""A small morphing obstacle that the tests of this and of other folders share, also on ranks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from mpi4py import MPI

from hypemarl.config import EnvConfig, FlowConfig, MeshConfig, ShapeConfig
from hypemarl.mpi import world
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
FLOW = FlowConfig(
    inflow="uniform",
    reynolds_low=20.0,
    reynolds_high=40.0,
    angle_low=-0.5,
    angle_high=0.5,
    lift_weight=0.0,
)
PARAMETERS = np.array([30.0, 0.3])


def shape_config(agents: int = 8, flow: dict[str, Any] | None = None, **shape: Any) -> EnvConfig:
    """Four control steps of 8 agents; ``flow`` and ``shape`` change settings of these parts."""
    return EnvConfig(
        system="shape",
        mesh=MESH,
        flow=replace(FLOW, **(flow or {})),
        shape=ShapeConfig(**shape),
        agents=(agents,),
        horizon=2.0,
        control_steps=4,
        beta=0.3,
        beta_g=0.2,
        observation_radius=1,
        context=("reynolds", "angle"),
    )


def shape_plant(config: EnvConfig | None = None, comm: MPI.Intracomm | None = None) -> ShapePlant:
    """A plant, on the world where no communicator is given."""
    return ShapePlant(config or shape_config(), comm or world())
