"""Bad input is refused with the line of the user's file and a remedy."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable

import dolfinx
import numpy as np
import pytest
from cases import Flow, Heat, Problem, Reaction, parameters, plant, settings
from mpi4py import MPI
from ufl import dS, dx, grad, inner, jump, sqrt

from hypemarl import Dirichlet, Grid, Hats, Parts, Patches, Points, PointValue
from hypemarl.config import ConfigError
from hypemarl.config.problems import ProblemError
from hypemarl.config.schema import EnvConfig, MeshConfig
from hypemarl.coupling.layout import LayoutError
from hypemarl.meshing import MeshError
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.systems.problem.attributes import require_sound
from hypemarl.systems.problem.options import ProblemOptions, problem_of
from hypemarl.systems.problem.plant import ProblemPlant


def changed(base: type[Problem] = Heat, **members: object) -> type[Problem]:
    return type("Changed", (base,), members)


OFF = Points([(0.3, 0.3)])
COUNT = itertools.count()


def no_test(self, u, u_old, v, control, mu, dt):
    return u * control * dx


def partly_tested(self, u, u_old, v, control, mu, dt):
    return (u - u_old) * v * dx + control * dx


def no_control(self, u, u_old, v):
    return (u - u_old) * v * dx


def no_unknown(self, u_old, v, control):
    return (u_old - control) * v * dx


def no_measure(self, u, v, control):
    return (u - control) * v


def misspelt(self, u, u_odl, v, control):
    return (u - u_odl - control) * v * dx


def wrong_parameter(self, u, v, control, mu):
    return (u - mu.kapa * control) * v * dx


def faulty(self, u, v, control):
    product = u * grad(u)
    return (product - control) * v * dx


def diffusion(self, u, u_old, v, control, dt):
    return (((u - u_old) / dt - control) * v + inner(grad(u), grad(v))) * dx


def upwind(self, u, u_old, v, control, dt):
    flow = jump(u) * jump(v) * dS
    return (((u - u_old) / dt - control) * v + inner(grad(u), grad(v))) * dx + flow


def cell_wise(self, u, u_old, v, control, dt):
    return ((u - u_old) / dt - control) * v * dx


@pytest.mark.parametrize(
    ("residual", "message"),
    [
        (no_test, "without a test function"),
        (partly_tested, "every term must hold the test function v"),
        (no_control, "no term holds the control"),
        (no_unknown, "depends on u"),
        (no_measure, "times dx or ds"),
        (misspelt, "unknown argument 'u_odl'; did you mean 'u_old'"),
        (wrong_parameter, "mu has no 'kapa'; did you mean 'kappa'"),
    ],
)
def test_a_residual_that_is_none(residual: Callable[..., object], message: str) -> None:
    with pytest.raises(ProblemError, match=message) as caught:
        plant(changed(residual=residual))
    line = inspect.getsourcelines(residual)[1]
    assert f"{__file__}:{line}" in str(caught.value) or f"{__file__}:{line + 1}" in str(
        caught.value
    )


def test_an_error_inside_a_method_names_its_line() -> None:
    with pytest.raises(ProblemError) as caught:
        plant(changed(residual=faulty))
    line = inspect.getsourcelines(faulty)[1] + 2
    assert f"{__file__}:{line} (" in str(caught.value)


@pytest.mark.parametrize(
    ("members", "error", "message"),
    [
        ({"observe": lambda self, u: [grad(u)]}, LayoutError, r"scalar.*shape \(2,\)"),
        ({"observe": lambda self, u: []}, ProblemError, "at least one quantity"),
        ({"cost": lambda self, u: {"state": u**2}}, ProblemError, "multiply it by dx or ds"),
        ({"cost": lambda self, u: u**2 * dx}, ProblemError, "expected terms by name"),
        ({"cost": lambda self, u: {"w": u * self.ds("lid")}}, ProblemError, "no part 'lid'"),
        ({"agents": Grid(20, 20)}, LayoutError, "have no cell"),
        ({"agents": Grid(4)}, LayoutError, r"Grid\(4, 4\)"),
        ({"agents": Points([(0.2, 0.2), (9.0, 9.0)])}, LayoutError, "have no cell"),
        ({"agents": Parts("hot")}, MeshError, "no part 'hot'"),
        ({"actuators": Hats(width=1e-3), "agents": OFF}, LayoutError, "zero at every node"),
        ({"space": lambda self: ("Nedelec", 1)}, ProblemError, "no element"),
        (
            {"space": lambda self: ("Lagrange", 0), "residual": diffusion},
            ProblemError,
            "gradient of u is zero in every cell",
        ),
        ({"space": lambda self: ("Lagrange", 0), "residual": upwind}, None, ""),
        ({"space": lambda self: ("Lagrange", 0), "residual": cell_wise}, None, ""),
        ({"parts": lambda self: {"lid": lambda x: x[1] > 2}}, MeshError, "'lid': no facet"),
        ({"boundary": lambda self: [0.0]}, ProblemError, "hypemarl.Dirichlet"),
        ({"boundary": lambda self: [Dirichlet(0.0, field=1)]}, ProblemError, "there is 1"),
        (
            {"boundary": lambda self, control: [Dirichlet(control**2)]},
            ProblemError,
            "linearly only",
        ),
        ({"observe": lambda self, u: [PointValue(u, (2.0, 0.0))]}, LayoutError, "outside the mesh"),
        ({"observe": lambda self, u: [u * self.ds("left")]}, ProblemError, "no part 'left'"),
        (
            {"components": 2, "control_space": lambda self: ("Lagrange", 1)},
            ProblemError,
            "has 1 components",
        ),
        ({"periodic": (0, 1), "agents": Grid(2, 2)}, None, ""),
        ({"substeps": 0}, ProblemError, r"substeps: expected a whole number.*got 0"),
        ({"bounds": (1.0, 1.0)}, ProblemError, "bounds: expected"),
        ({"quadrature": "simpson"}, ProblemError, "end or trapezoid"),
        ({"noise": "sigma"}, ProblemError, r"name of a parameter \(kappa\)"),
        ({"parameters": {"state": (0.0, 1.0)}}, ProblemError, "cannot be the name"),
        ({"parameters": {"kappa": (1.0, 0.0)}}, ProblemError, "expected kappa in"),
        ({"spin_up": -1.0}, ProblemError, "spin_up"),
        ({"spinup": 2}, ProblemError, "no member of a problem; did you mean spin_up"),
        ({"observ": lambda self, u: [u]}, ProblemError, "did you mean observe"),
        ({"costs": lambda self: 0}, None, ""),  # a helper beside `cost`
        ({"solver": "cg"}, ProblemError, "expected PETSc options"),
        ({"parameters": {"lambda": (0.0, 1.0)}}, ProblemError, "cannot be the name"),
        ({"boundary": lambda self: 0.0}, ProblemError, "list of hypemarl.Dirichlet.*got 0.0"),
        ({"boundary": lambda self: Dirichlet(0.0)}, None, ""),
        ({"boundary": lambda self: [Dirichlet(0.0, "lid")]}, ProblemError, "no part 'lid'"),
        (
            {"boundary": lambda self, control: [Dirichlet(control)], "actuators": Patches()},
            ProblemError,
            "jumps between cells",
        ),
        ({"show": lambda self, u: u}, ProblemError, "expected fields by name"),
        ({"space": lambda self: "Lagrange"}, ProblemError, "needs its degree"),
        ({"draw": lambda self, rng: next(COUNT)}, ProblemError, "from `rng` alone"),
        ({"draw": lambda self, rng: lambda: 0.0}, ProblemError, "expected numbers or arrays"),
        ({"periodic": (5,)}, MeshError, r"Changed.periodic\).*got \[5\]"),
        ({"periodic": 0}, ProblemError, r"expected axes, as \(0,\).*got 0"),
        ({"solver": {"ksp_type": "cgg"}}, ValueError, r"Changed.solver\).*KSP type cgg"),
        ({"solver": {"pc_type": "ilo"}}, ValueError, r"Changed.solver\).*PC type ilo"),
    ],
)
def test_members_that_do_not_fit(
    members: dict[str, object], error: type[Exception] | None, message: str
) -> None:
    if error is None:
        plant(changed(**members))
        return
    with pytest.raises(error, match=message) as caught:
        plant(changed(**members))
    assert __file__ in str(caught.value)


def test_an_initial_state_of_the_wrong_shape() -> None:
    made = plant(changed(initial=lambda self, x: np.zeros(3)))
    with pytest.raises(ProblemError, match=r"expected values of shape"):
        made.reset(parameters(made))
    made = plant(changed(Flow, initial=lambda self, x: x[0]))
    with pytest.raises(ProblemError, match="tuple of 3 fields"):
        made.reset(parameters(made))


@pytest.mark.parametrize(
    ("initial", "message"),
    [(lambda self, x: None, "is a `return` missing"), (lambda self, x: 1j * x[0], "complex")],
)
def test_an_initial_state_that_is_none(initial: Callable[..., object], message: str) -> None:
    made = plant(changed(initial=initial))
    with pytest.raises(ProblemError, match=message):
        made.reset(parameters(made))


def test_methods_that_are_missing_are_named() -> None:
    class Nothing(Problem):
        pass

    with pytest.raises(ProblemError, match=r"Nothing\): the method mesh is missing"):
        require_sound(Nothing())


def test_places_are_different() -> None:
    with pytest.raises(LayoutError, match="two agents are at the same one"):
        Points([(0.1, 0.1), (0.1, 0.1)])


def test_a_cost_that_is_not_finite_names_its_term() -> None:
    def cost(self, u, mu):
        return {"state": u**2 * dx, "ratio": sqrt(u - 9.0) * dx}

    made = plant(changed(cost=cost))
    made.reset(parameters(made))
    with pytest.raises(SolverDiverged, match="term 'ratio' is not finite"):
        made.step(np.zeros((4, 1)))


def test_newton_without_a_solution_says_so() -> None:
    def residual(self, u, u_old, v, control, dt):
        return ((u - u_old) / dt + u**2 + 1e4 - control) * v * dx

    made = plant(changed(Reaction, residual=residual))
    made.reset(parameters(made))
    with pytest.raises(SolverDiverged, match=r"Newton's method did not converge"):
        made.step(np.zeros((4, 1)))


def test_a_singular_system_says_so() -> None:
    def residual(self, u, u_old, v, control, dt):
        return inner(grad(u), grad(v)) * dx - control * v * dx

    made = plant(changed(residual=residual, agents=Grid(1, 1)))
    made.reset(parameters(made))
    with pytest.raises(SolverDiverged, match="singular"):
        made.step(np.ones((1, 1)))


def test_the_space_must_be_of_the_mesh() -> None:
    import basix.ufl

    element = basix.ufl.element("Lagrange", "tetrahedron", 1)
    with pytest.raises(ProblemError, match="its cell is tetrahedron, the mesh's triangle"):
        plant(changed(space=lambda self: element))


def test_options_are_attributes_of_the_class() -> None:
    from hypemarl.config.problems import PROBLEMS, entry_of

    class Known(Heat):
        amplitude = 1.0

    PROBLEMS.register(entry_of(Known))
    try:

        def of(*options: str, **changes: object) -> EnvConfig:
            return EnvConfig(
                system="problem", options=ProblemOptions("known", options), agents=(2, 2), **changes
            )

        assert problem_of(of("amplitude=2")).amplitude == 2.0
        assert problem_of(of("amplitude=4e5")).amplitude == 4e5  # text in YAML 1.1
        assert repr(problem_of(of("substeps=3.0")).substeps) == "3"
        with pytest.raises(ConfigError, match=r"expected a number, as the class has 1.0, got 'b'"):
            problem_of(of("amplitude=b"))
        with pytest.raises(ConfigError, match="no option 'amplitud'; did you mean 'amplitude'"):
            problem_of(of("amplitud=2"))
        with pytest.raises(ConfigError, match="expected name=value"):
            problem_of(of("amplitude"))
        assert problem_of(of()).amplitude == 1.0
    finally:
        PROBLEMS._items.pop("known")


def test_settings_of_a_mesh_stand_in_place_of_the_method() -> None:
    from hypemarl.meshing import build

    class Square(Heat):
        mesh, periodic = {"shape": "square", "element_size": 0.2, "lower": 0.0}, (0,)

        def cost(self, u, control):
            return {"state": u**2 * dx, "wall": 1.0 * self.ds("bottom")}

    mesh = MeshConfig(**Square.scenario()["env"]["mesh"])
    made = ProblemPlant(settings(Square), Square(), build(mesh, MPI.COMM_SELF))
    made.reset(parameters(made))
    terms = made.step(np.ones((4, 1)))[2]["costs"].terms
    assert terms["wall"] == pytest.approx(1.0 * made.interval)


def test_mesh_files_bring_their_tags(tmp_path) -> None:
    from hypemarl.meshing import build

    mesh = build(EnvConfig(agents=(2, 2)).mesh, MPI.COMM_SELF)
    assert "left" in mesh.tags

    class Tagged(Heat):
        def mesh(self, comm):
            return mesh

        def cost(self, u, control):
            return {"state": u**2 * dx, "wall": u**2 * self.ds("left")}

    made = plant(Tagged)
    made.reset(parameters(made))
    assert made.step(np.ones((4, 1)))[2]["costs"].terms["wall"] > 0.0
    assert isinstance(made.forms.domain.mesh, dolfinx.mesh.Mesh)
