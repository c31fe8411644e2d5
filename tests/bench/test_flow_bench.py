"""The tutorial's scheme is a fair peer only if it solves the same flow."""

from __future__ import annotations

import dataclasses

import numpy as np

from hypemarl.bench import flow as bench
from hypemarl.solvers.functionals import FlowFunctionals


def test_the_peer_solves_the_same_flow() -> None:
    """The two schemes differ in form; their flows approach each other as the mesh is refined."""
    mesh = dataclasses.replace(bench.DFG, element_size=0.03, disc_element_size=0.01)
    flow = bench._started(mesh, bench.DT, 100)
    start, step = np.array(flow.velocity), bench._peer(flow)
    flow.step()  # the peer made its first step when it was built
    for _ in range(20):
        flow.step()
        step()
    peer = step.__self__
    theirs = np.stack([peer.u.x.array[c::2] for c in range(2)])
    energy = FlowFunctionals(flow.space).kinetic_energy
    assert energy(flow.velocity - theirs) < 0.05**2 * energy(flow.velocity - start)


def test_memory_traffic_counts_every_part_of_a_step() -> None:
    coarse = dataclasses.replace(bench.DFG, element_size=0.1, disc_element_size=0.03)
    flow = bench._started(coarse, bench.DT, 3)
    entries = len(flow.momentum.mass)
    assert bench.bytes_per_step(flow) > 8 * 4 * entries  # the matrix alone
    assert bench._bandwidth() > 1e8


def test_episodes_start_from_memory_in_under_five_milliseconds() -> None:
    times = bench.flow_reset()
    assert sorted(times) == ["density_fluid_ms", "flow_cylinder_ms", "flow_dissipation_ms"]
    assert max(times.values()) < 5.0
