"""Problems in UFL on ranks: as on one rank to solver tolerance, gradients too."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, Heat, Problem, actions, gradient, parameters, plant
from mpi4py import MPI
from together import assert_same, raised

from hypemarl import Dirichlet
from hypemarl.coupling.plant import ActionError
from hypemarl.systems.problem.calls import ProblemError

BOTH = pytest.mark.parametrize("comm", [2, 3], indirect=True)


@BOTH
@pytest.mark.parametrize("cls", CASES)
def test_costs_observations_and_gradients_are_those_of_one_rank(
    comm: MPI.Intracomm, cls: type[Problem]
) -> None:
    made, alone = plant(cls, comm), plant(cls)
    seen = [which.reset(parameters(which)) for which in (made, alone)]
    np.testing.assert_allclose(*seen, rtol=1e-9, atol=1e-11)
    costs, slopes = zip(*(gradient(which) for which in (made, alone)), strict=True)
    np.testing.assert_allclose(*costs, rtol=1e-8)
    np.testing.assert_allclose(*slopes, rtol=0.0, atol=1e-7 * np.abs(slopes[1]).max())
    seen = [which.step(actions(which)[0])[0] for which in (made, alone)]
    assert_same(comm, seen[0])
    np.testing.assert_allclose(*seen, rtol=1e-7, atol=1e-9)


@BOTH
def test_pictures_hold_the_whole_mesh_once(comm: MPI.Intracomm) -> None:
    made, alone = plant(CASES[3], comm), plant(CASES[3])
    for which in (made, alone):
        which.reset(parameters(which))
    fields, expected = made.fields(), alone.fields()
    if comm.rank:
        assert fields is None
        return
    assert fields is not None
    assert expected is not None
    assert fields["cells"].shape == expected["cells"].shape
    orders = [np.lexsort(f["points"].round(9).T) for f in (fields, expected)]
    for name in ("points", "u"):
        pair = [f[name][order] for f, order in zip((fields, expected), orders, strict=True)]
        np.testing.assert_allclose(*pair, atol=1e-9)


@BOTH
def test_errors_reach_every_rank(comm: MPI.Intracomm) -> None:
    class Wrong(Heat):
        def boundary(self):
            return [Dirichlet(0.0, field=3)] if comm.rank < 5 else []

        def residual(self, u, u_old, v, control, mu, dt):
            return u * self.dx()

    raised(comm, ProblemError, lambda: plant(Wrong, comm))
    made = plant(Heat, comm)
    made.reset(parameters(made))
    bad = np.full((4, 1), np.nan if comm.rank == 0 else 0.0)
    raised(comm, ActionError, lambda: made.step(bad))
