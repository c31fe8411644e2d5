"""Problems in UFL on ranks: as on one rank to solver tolerance, gradients too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import CASES, Heat, Problem, actions, gradient, parameters, plant
from mpi4py import MPI
from together import assert_same, raised

from hypemarl import Dirichlet, make
from hypemarl.config.problems import ProblemError
from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.coupling.plant import ActionError
from hypemarl.envs.array_env import plant_of
from hypemarl.optimal.trajectory import EpisodeAdjoint

DEMO = Path(__file__).parents[2] / "demos" / "own_pde.py"
BOTH = pytest.mark.parametrize("comm", [pytest.param(2, marks=pytest.mark.slow), 3], indirect=True)


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
def test_the_demo_costs_the_same_and_has_the_same_gradient(comm: MPI.Intracomm) -> None:
    results = []
    for where in (comm, MPI.COMM_SELF):
        env = make(str(DEMO), where)
        made = plant_of(env)
        start = made.parameter_low + 0.4 * (made.parameter_high - made.parameter_low)
        episode = EpisodeAdjoint(require_adjoint(made))
        results.append(episode.gradient(start, actions(made, steps=3)))
    np.testing.assert_allclose(*(result.cost for result in results), rtol=1e-10)
    slopes = [result.gradient for result in results]
    np.testing.assert_allclose(*slopes, rtol=0.0, atol=1e-9 * np.abs(slopes[1]).max())


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
