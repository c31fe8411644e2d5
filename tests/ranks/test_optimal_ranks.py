"""Exact gradients on several ranks are those of one, the same on every rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flow_gradient
import numpy as np
import pytest
import shape_gradient
import test_bridge
import torch
from mpi4py import MPI
from test_density_adjoint import CASES, drawn
from together import assert_same, from_rank_0, raised

from hypemarl import envs
from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.meshing import build
from hypemarl.optimal import bridge
from hypemarl.optimal.taped import TapedPlant
from hypemarl.optimal.trajectory import EpisodeAdjoint
from hypemarl.systems.density.adjoint import DensityAdjoint

TWO = pytest.mark.parametrize("comm", [2], indirect=True)


def gradient_of(comm: MPI.Intracomm, functional: Any) -> np.ndarray:
    """That of rank 0's actions."""
    actions = functional.actions if comm.rank == 0 else 0.0 * functional.actions
    gradient = functional.gradient(actions)
    assert_same(comm, gradient)
    return gradient


@TWO
@pytest.mark.parametrize("name", list(CASES))
def test_density(comm: MPI.Intracomm, name: str) -> None:
    make, config, parameters = CASES[name]

    def gradient(comm: MPI.Intracomm) -> np.ndarray:
        adjoint = DensityAdjoint(make(config, build(config.mesh, comm)))
        return EpisodeAdjoint(adjoint).gradient(parameters, drawn(adjoint, 8)).gradient

    serial = from_rank_0(comm, lambda: gradient(MPI.COMM_SELF))
    assert gradient(comm) == pytest.approx(serial, rel=1e-9, abs=1e-12)


@TWO
@pytest.mark.parametrize(
    ("case", "limit"),
    [("drag-tangential", 0.6), ("dissipation", 2.0), ("drag-power", 2.0), ("drag-jets", 2.0)],
)
def test_flow(comm: MPI.Intracomm, case: str, limit: float, folder: Path) -> None:
    """Under a Courant number of 0.6 every interval takes shorter time steps."""

    def gradient(comm: MPI.Intracomm) -> np.ndarray:
        functional = flow_gradient.Functional(case, folder, comm=comm)
        functional.plant.reset(functional.parameters)
        functional.plant.solver.cfl_limit = limit
        result = gradient_of(comm, functional)
        if comm.size == 1:
            functional.value(functional.actions)
            steps = {info["time_steps"] for info in functional.infos}
            assert steps == {8 if limit < 1.0 else 4}
        return result

    serial = from_rank_0(comm, lambda: gradient(MPI.COMM_SELF))
    assert gradient(comm) == pytest.approx(serial, rel=1e-8, abs=1e-10)


@pytest.mark.slow
@TWO
@pytest.mark.parametrize("case", ["drag", "dissipation"])
def test_shape(comm: MPI.Intracomm, case: str) -> None:
    def gradient(comm: MPI.Intracomm) -> np.ndarray:
        return gradient_of(comm, shape_gradient.Functional(case, comm=comm))

    serial = from_rank_0(comm, lambda: gradient(MPI.COMM_SELF))
    assert gradient(comm) == pytest.approx(serial, rel=1e-7, abs=1e-9)


@TWO
def test_torch_leads_from_rank_0(comm: MPI.Intracomm) -> None:
    """Cost and gradient through the bridge; a wrong action is an error of every rank."""

    def lead(comm: MPI.Intracomm) -> tuple[float, np.ndarray, TapedPlant]:
        env = envs.make(test_bridge.ENV, comm)
        taped = TapedPlant(require_adjoint(env.plant))
        env.plant.reset(test_bridge.PARAMETERS)
        actions = test_bridge.drawn(0, env).requires_grad_()

        def work() -> float:
            state, total = bridge.begin(taped), torch.zeros((), dtype=torch.float64)
            for row in actions:
                state, _, shares = bridge.step(taped, state, row)
                total = total + shares.sum()
            total.backward()
            return float(total.detach())

        cost = comm.bcast(taped.lead(work))
        return cost, comm.bcast(None if actions.grad is None else actions.grad.numpy()), taped

    cost, gradient, taped = lead(comm)
    serial_cost, serial = from_rank_0(comm, lambda: lead(MPI.COMM_SELF)[:2])
    assert cost == pytest.approx(serial_cost, rel=1e-10)
    np.testing.assert_allclose(gradient, serial, rtol=1e-7, atol=1e-11)
    nan = torch.full((taped.plant.n_agents, 2), float("nan"))

    def wrong() -> None:
        bridge.step(taped, bridge.begin(taped), nan)

    assert "finite" in raised(comm, ValueError, lambda: taped.lead(wrong))[0]
