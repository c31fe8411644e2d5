"""Memory stays flat over episodes of random actions at the bounds, with a new mu in each."""

from __future__ import annotations

import ctypes
import gc
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hypemarl import config as configuration
from hypemarl.envs import make
from hypemarl.solvers.steady_flow import FlowSolution
from hypemarl.systems.shape.flow import ShapeFlow

sys.path.insert(0, str(Path(__file__).parents[1] / "coupling"))
from shape_case import shape_config

FLAT = 0.01
"""MiB an episode."""
UNSTEADY = ("env.shape.mode=unsteady", "env.shape.time_step=0.01")
REMESHES = (
    "env.shape.remesh=true",
    "env.shape.min_quality=0.5",
    "env.mesh.element_size=0.5",
    "env.mesh.disc_element_size=0.05",
)


def resident() -> float:
    """MiB of this process that lie in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


class _Heap(ctypes.Structure):
    """struct mallinfo2 of glibc."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks"),
            *("uordblks", "fordblks", "keepcost"),
        )
    )


def allocated() -> float:
    """MiB in use on the heap: gmsh's gaps, which come and go, do not count."""
    gc.collect()
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Heap
    heap = mallinfo()
    return (heap.uordblks + heap.hblkhd) / 2**20


def traced() -> float:
    """MiB that Python and numpy hold."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / 2**20


def growth(env: Any, episodes: int, warm_up: int, steps: int, memory: Callable[[], float]) -> float:
    """MiB an episode after ``warm_up`` episodes, by least squares; episodes of at most ``steps``.

    Costs of all steps must be finite: a failed step would hide what a sound one leaves behind.
    States that training starts from are in memory from the beginning.
    """
    generator, sizes = np.random.default_rng(0), []
    bank = getattr(env.plant, "parameter_bank", None)
    for parameters in () if bank is None else bank:
        env.reset_arrays(parameters)
    for _ in range(episodes):
        env.reset_arrays(env.sample_parameters(generator))  # the last episode's mesh goes
        sizes.append(memory())
        for _ in range(min(steps, env.control_steps)):
            signs = generator.choice([-1.0, 1.0], (env.n_agents, env.action_size))
            step = env.step_arrays(signs * env.action_high)
            assert "failure" not in step.info, step.info["failure"]
            assert np.isfinite(step.info["cost"])
    return float(np.polyfit(np.arange(warm_up, episodes), sizes[warm_up:], 1)[0])


def test_beginnings_of_episodes_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the reference's flows took 0.03 MiB here, 0.11 in the scenario, up to 256 of them.

    Flows are copies of one: what is kept counts, not what it is.
    """
    env = make(shape_config())
    flow = env.plant.snapshot().flow

    def solve(self: ShapeFlow, *arguments: Any) -> FlowSolution:
        arrays = {name: getattr(flow, name).copy() for name in ("velocity", "pressure", "forces")}
        return replace(flow, **arrays)

    monkeypatch.setattr(ShapeFlow, "solve", solve)
    tracemalloc.start()
    try:
        assert growth(env, 70, 50, 0, traced) < FLAT / 10
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("scenario", "settings", "episodes", "steps"),
    [
        ("shape-morphing", (), 250, 8),
        ("shape-morphing", UNSTEADY, 250, 1),
        ("density-fluid", (), 250, 4),
        ("flow-cylinder", (), 110, 2),
        ("flow-dissipation", (), 110, 2),
    ],
)
def test_memory_is_flat(
    scenario: str, settings: tuple[str, ...], episodes: int, steps: int
) -> None:
    env = make(configuration.load(scenario, settings).env)
    assert growth(env, episodes, 50, steps, resident) < FLAT


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="asks glibc")
def test_remeshes_leave_nothing_behind() -> None:
    """More than one in an episode; the factors of a mesh alone take 2 MiB."""
    env = make(configuration.load("shape-morphing", REMESHES).env)
    remeshes, mesh = [0], env.plant._flow_on_mesh

    def counted() -> ShapeFlow:
        remeshes[0] += 1
        return mesh()

    env.plant._flow_on_mesh = counted
    assert growth(env, 100, 50, 3, allocated) < FLAT
    assert remeshes[0] > 40
