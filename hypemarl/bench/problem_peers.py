"""Peers of `bench problem-step`: the step by hand, and the gradient by dolfinx-adjoint too.

Two equations on the unit square, P1 elements, backward Euler, no flux through the boundary, started
from u = 1/2 + 1/2 cos(pi x) cos(pi y) and driven by a control c = sum_i a_i q_i of 16 Gaussian
bumps, interpolated at the nodes:

* ``"linear"``: u_t + b . grad u - 0.05 div grad u = c with b = (1/2, 1/4);
* ``"nonlinear"`` (Allen-Cahn): u_t - 0.01 div grad u + u^3 - u = c.

A run holds each of 20 controls for 4 time steps and adds dt (1/2 ||u||^2 + 0.005 ||c||^2) after
each of them.

dolfinx-adjoint is no dependency of this package. It goes beside a dolfinx wheel with
``pip install --no-deps dolfinx-adjoint==0.4.0 pyadjoint-ad==2026.10.0 fenicsx-compat==0.4.0
checkpoint-schedules==1.0.4`` (and sympy, which torch brings).
"""

import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc

from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.fem_petsc import petsc as fem_petsc

EQUATIONS = ("linear", "nonlinear")
CELLS = 32
BUMPS, WIDTH = 4, 0.1
CONTROL_STEPS, SUBSTEPS, TIME_STEP = 20, 4, 0.0125
EFFORT = 0.005
DIRECT = {"ksp_type": "preonly", "pc_type": "lu"}
NEWTON = DIRECT | {
    "snes_type": "newtonls",
    "snes_rtol": 1e-10,
    "snes_atol": 1e-12,
    "snes_error_if_not_converged": True,
}


class PeerRun(NamedTuple):
    """Result of a peer, and its times.

    ``cost``: J; ``gradient``: dJ/da, (20, 16), or None; ``forward_s``: seconds of a run without,
    ``gradient_s``: with the gradient, None if there is none. Times are the shortest of the repeats.
    """

    cost: float
    gradient: np.ndarray | None
    forward_s: float
    gradient_s: float | None


class Setting:
    """Mesh, space and bumps of both equations. Collective.

    ``bumps`` is (n_local with ghosts, 16): c = ``bumps @ a``; ``initial``: u at t = 0 at the nodes.
    """

    def __init__(self, comm: MPI.Intracomm, cells: int = CELLS) -> None:
        self.mesh = mesh.create_unit_square(comm, cells, cells)
        self.space = fem.functionspace(self.mesh, ("Lagrange", 1))
        x, y = self.space.tabulate_dof_coordinates().T[:2]
        at = (np.arange(BUMPS) + 0.5) / BUMPS
        centres = np.array([(cx, cy) for cy in at for cx in at])
        squares = (x[:, None] - centres[:, 0]) ** 2 + (y[:, None] - centres[:, 1]) ** 2
        self.bumps = np.exp(-0.5 * squares / WIDTH**2)
        self.initial = 0.5 + 0.5 * np.cos(np.pi * x) * np.cos(np.pi * y)

    def pull(self, nodal: np.ndarray) -> np.ndarray:
        """From derivatives by the nodes' controls, (n, n_local), to those by a: (n, 16).

        Collective; ghosts' entries are not read.
        """
        owned = self.space.dofmap.index_map.size_local
        return sum_over_ranks(self.mesh.comm, nodal[:, :owned] @ self.bumps[:owned])


def residual(equation: str, u: Any, u_old: Any, c: Any, v: Any) -> ufl.Form:
    """Residual of one time step from ``u_old`` to ``u`` under the control ``c``.

    Args:
        equation: of ``EQUATIONS``; u: function or trial function; v: test function.

    Raises:
        ValueError: there is no such equation.
    """
    form = (u - u_old) / TIME_STEP * v * ufl.dx - c * v * ufl.dx
    if equation == "linear":
        drift = ufl.dot(ufl.as_vector((0.5, 0.25)), ufl.grad(u))
        return form + drift * v * ufl.dx + 0.05 * ufl.dot(ufl.grad(u), ufl.grad(v)) * ufl.dx
    if equation == "nonlinear":
        return form + (u**3 - u) * v * ufl.dx + 0.01 * ufl.dot(ufl.grad(u), ufl.grad(v)) * ufl.dx
    raise ValueError(f"equation: expected one of {', '.join(EQUATIONS)}, got {equation!r}")


def step_cost(u: Any, c: Any) -> ufl.Form:
    """Form of a time step's cost, dt (1/2 ||u||^2 + 0.005 ||c||^2)."""
    return TIME_STEP * (0.5 * u**2 + EFFORT * c**2) * ufl.dx


def coefficients(seed: int = 0) -> np.ndarray:
    """Controls at which the peers are compared, (20, 16), uniform in [-1, 1]."""
    shape = (CONTROL_STEPS, BUMPS**2)
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape)


class ByHand:
    """The step as a user of dolfinx writes it, with everything that can be kept kept. Collective.

    Linear: the matrix and its LU factors are those of a ``LinearProblem``, made once; a step
    assembles the right side and solves. Nonlinear: one ``NonlinearProblem`` (SNES, LU).
    """

    def __init__(self, equation: str, setting: Setting) -> None:
        space, self.comm = setting.space, setting.mesh.comm
        self.setting = setting
        self.u, self.u_old, self.c = (fem.Function(space) for _ in range(3))
        v = ufl.TestFunction(space)
        self.cost_form = fem.form(step_cost(self.u, self.c))
        if equation == "linear":
            form = residual(equation, ufl.TrialFunction(space), self.u_old, self.c, v)
            self._linear(form)
        else:
            self._nonlinear(residual(equation, self.u, self.u_old, self.c, v))

    def run(self, actions: np.ndarray) -> float:
        """J of a run under ``actions`` (20, 16). Collective."""
        self.u.x.array[:] = self.setting.initial
        return sum(self.control_step(action) for action in actions)

    def control_step(self, action: np.ndarray) -> float:
        """Four time steps from ``u`` under ``action`` (16,); their cost. Collective."""
        self.c.x.array[:] = self.setting.bumps @ action
        cost = 0.0
        for _ in range(SUBSTEPS):
            self.u_old.x.array[:] = self.u.x.array
            self.time_step()
            cost += fem.assemble_scalar(self.cost_form)
        return self.comm.allreduce(cost)

    def _linear(self, form: ufl.Form) -> None:
        left, right = ufl.system(form)
        options = _direct(self.comm) | {"ksp_error_if_not_converged": True}
        prefix = "hypemarl_bench_linear_"
        problem = fem_petsc.LinearProblem(
            left, right, u=self.u, petsc_options=options, petsc_options_prefix=prefix
        )
        fem_petsc.assemble_matrix(problem.A, problem.a)
        problem.A.assemble()
        self.problem = problem
        self.time_step: Callable[[], object] = self._linear_step

    def _linear_step(self) -> None:
        problem, right = self.problem, self.problem.b
        with right.localForm() as local:
            local.set(0.0)
        fem_petsc.assemble_vector(right, problem.L)
        right.ghostUpdate(addv=PETSc.InsertMode.ADD_VALUES, mode=PETSc.ScatterMode.REVERSE)
        problem.solver.solve(right, self.u.x.petsc_vec)
        self.u.x.scatter_forward()

    def _nonlinear(self, form: ufl.Form) -> None:
        options = NEWTON | _direct(self.comm)
        prefix = "hypemarl_bench_nonlinear_"
        self.problem = fem_petsc.NonlinearProblem(
            form, self.u, petsc_options=options, petsc_options_prefix=prefix
        )
        self.time_step = self.problem.solve


def by_hand(equation: str, comm: MPI.Intracomm, repeats: int = 5) -> PeerRun:
    """J of ``equation`` at :func:`coefficients` by hand; there is no gradient. Collective."""
    peer = ByHand(equation, Setting(comm))
    actions = coefficients()
    cost, seconds = _shortest(lambda: peer.run(actions), repeats)
    return PeerRun(cost, None, seconds, None)


class Taped:
    """A run on the tape of dolfinx-adjoint with the 20 controls as functions. Collective.

    Making one records the run, at zero controls; ``record_s`` is how long that took.

    Raises:
        ImportError: dolfinx-adjoint or what it needs is not installed.
    """

    def __init__(self, equation: str, setting: Setting) -> None:
        import dolfinx_adjoint
        import pyadjoint

        self._adjoint, self.setting = dolfinx_adjoint, setting
        pyadjoint.set_working_tape(pyadjoint.Tape())
        start = time.perf_counter()
        pyadjoint.continue_annotation()
        try:
            controls, cost = self._record(equation)
            marked = [pyadjoint.Control(c) for c in controls]
            self._reduced = pyadjoint.ReducedFunctional(cost, marked)
        finally:
            pyadjoint.pause_annotation()  # the import switches it on for the whole process
        self.record_s = time.perf_counter() - start

    def run(self, actions: np.ndarray) -> float:
        """J of a run under ``actions`` (20, 16), by replaying the tape. Collective."""
        controls = []
        for action in actions:
            c = self._adjoint.Function(self.setting.space, annotate=False)
            c.x.array[:] = self.setting.bumps @ action
            controls.append(c)
        return float(self._reduced(controls))

    def gradient(self, actions: np.ndarray) -> tuple[float, np.ndarray]:
        """J and dJ/da (20, 16) under ``actions``. Collective."""
        cost = self.run(actions)
        nodal = [d.x.array for d in self._reduced.derivative()]
        return cost, self.setting.pull(np.array(nodal))

    def _record(self, equation: str) -> tuple[list[Any], Any]:
        """The controls and J of a recorded run."""
        adjoint, space = self._adjoint, self.setting.space
        u, u_old, held = (adjoint.Function(space) for _ in range(3))
        u.x.array[:] = self.setting.initial
        self._problem = self._step(equation, u, u_old, held)
        controls, cost = [adjoint.Function(space) for _ in range(CONTROL_STEPS)], 0.0
        for c in controls:
            adjoint.assign(c, held)
            for _ in range(SUBSTEPS):
                adjoint.assign(u, u_old)
                self._problem.solve()
                cost = cost + adjoint.assemble_scalar(step_cost(u, held))
        return controls, cost

    def _step(self, equation: str, u: Any, u_old: Any, c: Any) -> Any:
        space = self.setting.space
        v, direct = ufl.TestFunction(space), _direct(self.setting.mesh.comm)
        if equation == "linear":
            left, right = ufl.system(residual(equation, ufl.TrialFunction(space), u_old, c, v))
            return self._adjoint.LinearProblem(
                left, right, u=u, petsc_options=direct, adjoint_petsc_options=direct
            )
        form, options = residual(equation, u, u_old, c, v), NEWTON | direct
        return self._adjoint.NonlinearProblem(
            form, u, petsc_options=options, adjoint_petsc_options=direct
        )


def dolfinx_adjoint_version() -> str | None:
    """The installed version of dolfinx-adjoint, None where there is none. Local."""
    try:
        return version("dolfinx-adjoint")
    except PackageNotFoundError:
        return None


def by_dolfinx_adjoint(equation: str, comm: MPI.Intracomm, repeats: int = 3) -> PeerRun:
    """J of ``equation`` and dJ/da at :func:`coefficients` by dolfinx-adjoint. Collective.

    The times are those of a recorded run that is evaluated anew, as an optimisation does it. The
    controls change between evaluations, for a replayed Newton iteration starts from the state of
    the last one and would find nothing left to do.

    Raises:
        ImportError: dolfinx-adjoint or what it needs is not installed.
    """
    peer = Taped(equation, Setting(comm))
    actions = coefficients()
    away = partial(peer.run, coefficients(1))
    _, forward_s = _shortest(lambda: peer.run(actions), repeats, away)
    (cost, gradient), gradient_s = _shortest(lambda: peer.gradient(actions), repeats, away)
    return PeerRun(cost, gradient, forward_s, gradient_s)


def _direct(comm: MPI.Intracomm) -> dict[str, str]:
    """PETSc's own LU on one rank, MUMPS on several."""
    return DIRECT if comm.size == 1 else DIRECT | {"pc_factor_mat_solver_type": "mumps"}


def _shortest[T](
    call: Callable[[], T], repeats: int, before: Callable[[], object] = int
) -> tuple[T, float]:
    """The result of ``call`` and its shortest time in seconds after one run to warm up.

    ``before`` is called ahead of each repeat, untimed.
    """
    result, times = call(), []
    for _ in range(repeats):
        before()
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return result, min(times)
