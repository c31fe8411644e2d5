"""The bench's problem computes what its peers compute."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from hypemarl.bench import problem_peers as peers
from hypemarl.bench.problem_step import in_our_order, plant_for
from hypemarl.optimal.trajectory import EpisodeAdjoint


@pytest.mark.parametrize("equation", peers.EQUATIONS)
def test_costs_are_those_of_the_step_by_hand(equation: str) -> None:
    plant, actions = plant_for(equation, MPI.COMM_SELF), peers.coefficients()
    ours = EpisodeAdjoint(plant.adjoint()).cost(plant.parameter_low, in_our_order(actions))
    theirs = peers.ByHand(equation, peers.Setting(MPI.COMM_SELF)).run(actions)
    assert ours == pytest.approx(theirs, rel=1e-9)


@pytest.mark.slow
@pytest.mark.skipif(peers.dolfinx_adjoint_version() is None, reason="needs dolfinx-adjoint")
@pytest.mark.parametrize("equation", peers.EQUATIONS)
def test_gradients_are_those_of_dolfinx_adjoint(equation: str) -> None:
    plant, actions = plant_for(equation, MPI.COMM_SELF), peers.coefficients()
    ours = EpisodeAdjoint(plant.adjoint()).gradient(plant.parameter_low, in_our_order(actions))
    theirs = peers.by_dolfinx_adjoint(equation, MPI.COMM_SELF, repeats=1).gradient
    assert theirs is not None
    np.testing.assert_allclose(ours.gradient, in_our_order(theirs), rtol=1e-6, atol=1e-9)
