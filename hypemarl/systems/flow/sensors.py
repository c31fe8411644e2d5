"""Probes of the agents on a disc, and sensors that all of them see."""

from __future__ import annotations

import numpy as np

from hypemarl.coupling.probes import PointProbes
from hypemarl.mpi import Comm, on_root
from hypemarl.solvers.taylor_hood import TaylorHood
from hypemarl.systems.flow.arcs import ArcLayout

WAKE = "wake-151"
"""Sensors of the common cylinder (docs/environments.md), see :func:`wake_points`."""


def wake_points() -> np.ndarray:
    """The 151 sensors of the common cylinder in diameters from its centre, (151, 2). Local.

    A grid in the wake, two rings, and points beside the cylinder (J. Rabault et al., J. Fluid Mech.
    865 (2019) 281, as benchmark suites have them).
    """
    grid = [(x, y) for x in np.arange(1.0, 4.6, 0.5) for y in np.arange(-1.5, 1.6, 0.5)]
    angles = np.linspace(0.0, 2.0 * np.pi, 36)  # both ends
    rings = [(r * np.cos(a), r * np.sin(a)) for r in (1.0, 0.625) for a in angles]
    beside = [(x, y) for y in (-1.5, 1.5) for x in (-0.25, 0.0, 0.25, 0.5, 0.75)]
    beside += [(x, y) for y in (-1.0, 1.0) for x in (-0.25, 0.25, 0.5, 0.75, 1.0)]
    return np.array(grid + rings + beside + [(0.75, -0.5), (0.75, 0.0), (0.75, 0.5)])


def sensor_points(comm: Comm, name: str) -> np.ndarray:
    """Points (k, 2) that ``env.flow.sensors`` names, in diameters from the centre. Collective.

    Raises ValueError: on every rank, a file that is none, or holds no pairs of numbers.
    """
    if not name:
        return np.zeros((0, 2))
    return wake_points() if name == WAKE else np.asarray(on_root(comm, lambda: _read_points(name)))


def _read_points(name: str) -> np.ndarray:
    expected = f"env.flow.sensors: expected {WAKE} or a text file with two numbers a line"
    try:
        points = np.loadtxt(name, ndmin=2)
    except (OSError, ValueError) as error:
        raise ValueError(f"{expected}, got {name!r} ({error})") from error
    if points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"{expected}, got {name!r} with {points.shape[1]} a line")
    return points


def probes(
    space: TaylorHood, layout: ArcLayout, distances: tuple[float, ...], sensors: np.ndarray
) -> PointProbes:
    """Probes of every agent, in the agents' order, at distances in diameters, then the sensors."""
    steps = 2.0 * layout.disc.radius * np.array(distances)
    points = layout.positions[:, None] + steps[None, :, None] * layout.normals[:, None]
    names = [
        f"agent {agent}: probe {distance:g} diameters from the disc (env.flow.probe_distances)"
        for agent in range(layout.n_agents)
        for distance in distances
    ]
    names += [
        f"sensor {k} at {point.tolist()} diameters from the centre (env.flow.sensors)"
        for k, point in enumerate(sensors)
    ]
    shared = layout.disc.centre + 2.0 * layout.disc.radius * sensors
    return PointProbes(space, np.concatenate([points.reshape(-1, 2), shared]), names)
