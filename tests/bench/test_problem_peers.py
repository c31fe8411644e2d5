from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from hypemarl.bench import problem_peers as peers

needs_dolfinx_adjoint = pytest.mark.skipif(
    peers.dolfinx_adjoint_version() is None, reason="dolfinx-adjoint is not installed"
)


@pytest.mark.parametrize("equation", peers.EQUATIONS)
def test_a_step_by_hand_leaves_no_residual(equation: str) -> None:
    setting = peers.Setting(MPI.COMM_SELF, cells=8)
    peer = peers.ByHand(equation, setting)
    peer.u.x.array[:] = setting.initial
    peer.control_step(peers.coefficients()[0])
    v = ufl.TestFunction(setting.space)
    form = fem.form(peers.residual(equation, peer.u, peer.u_old, peer.c, v))
    scale = np.abs(fem.assemble_vector(fem.form(peer.u / peers.TIME_STEP * v * ufl.dx)).array).max()
    assert np.abs(fem.assemble_vector(form).array).max() < 1e-9 * scale


def test_an_unknown_equation_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="expected one of linear, nonlinear, got 'cubic'"):
        peers.ByHand("cubic", peers.Setting(MPI.COMM_SELF, cells=2))


def test_by_hand_returns_the_same_cost_each_time_and_no_gradient() -> None:
    first, second = (peers.by_hand("linear", MPI.COMM_SELF, repeats=1) for _ in range(2))
    assert first.cost == second.cost > 0.0
    assert first.gradient is None
    assert first.gradient_s is None
    assert first.forward_s > 0.0


@needs_dolfinx_adjoint
@pytest.mark.parametrize("equation", peers.EQUATIONS)
def test_the_peers_agree_and_the_gradient_passes_a_taylor_test(equation: str) -> None:
    setting = peers.Setting(MPI.COMM_SELF, cells=8)
    hand, taped = peers.ByHand(equation, setting), peers.Taped(equation, setting)
    actions = peers.coefficients()
    cost, gradient = taped.gradient(actions)
    assert cost == pytest.approx(hand.run(actions), rel=1e-8)
    assert gradient.shape == actions.shape
    slope = np.linalg.norm(gradient)
    direction = gradient / slope  # in it a wrong gradient shows most
    steps = 0.1 * 0.5 ** np.arange(4)
    ahead = np.array([taped.run(actions + h * direction) for h in steps])
    remainders = np.abs(ahead - cost - steps * slope)
    assert np.log2(remainders[:-1] / remainders[1:]).min() > 1.95
    central = (ahead[0] - taped.run(actions - steps[0] * direction)) / (2.0 * steps[0])
    assert central == pytest.approx(slope, rel=1e-4)
