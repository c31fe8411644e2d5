"""The forms of a problem on its mesh: spaces, functions, constants, and the checks of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.mesh import Mesh

from hypemarl.meshing import TaggedMesh
from hypemarl.mpi import Comm
from hypemarl.solvers.jit import contains
from hypemarl.systems.problem.calls import Parameters, call, member, refuse
from hypemarl.systems.problem.conditions import Conditions
from hypemarl.systems.problem.domain import Domain
from hypemarl.systems.problem.problem import Problem


class Forms:
    """Arguments of a problem's methods, and their results. Collective.

    Args:
        problem: its ``domain`` is set here; mesh: of the problem; dt: length of a time step.

    Raises:
        ProblemError, MeshError, LayoutError: on every rank.
    """

    def __init__(self, problem: Problem, mesh: Any, dt: float) -> None:
        self.problem = problem
        if not isinstance(mesh, Mesh | TaggedMesh):
            raise refuse(
                problem.mesh, f"expected a dolfinx mesh or a hypemarl TaggedMesh, got {mesh!r:.80}"
            )
        with member(problem, "periodic"):
            self.domain = Domain(mesh, problem.periodic)
        for name, down in (("parts", 1), ("regions", 0)):
            with member(problem, name):
                markers = call(getattr(problem, name), {})
                self.domain.mark(markers, self.domain.tdim - down)
        problem.domain = self.domain
        self.comm: Comm = self.domain.comm
        self.element = self._element(problem.space, call(problem.space, {}))
        self.space = fem.functionspace(self.domain.mesh, self.element)
        self.u, self.u_old, self.u_older = (fem.Function(self.space) for _ in range(3))
        self.control = fem.Function(fem.functionspace(self.domain.mesh, self._control_element()))
        self.time, self.dt = self.constant(0.0), self.constant(dt)
        self.parameters = {name: self.constant(0.0) for name in problem.parameters}
        self.mu = Parameters(self.parameters)
        self.test = ufl.TestFunction(self.space)
        self._arguments = self._available()

    def constant(self, value: float) -> fem.Constant:
        """A constant on the mesh."""
        return fem.Constant(self.domain.mesh, value)

    def ask(self, method: Callable[..., Any], *names: str) -> Any:
        """Call a method of the problem with UFL arguments, those of these ``names`` or all."""
        known = self._arguments
        return call(method, {name: known[name] for name in names or known})

    @property
    def fields(self) -> int:
        """Number of fields of the state, one where the space is not mixed."""
        return self.space.num_sub_spaces if self.mixed else 1

    @cached_property
    def mixed(self) -> bool:
        """Whether the space is mixed."""
        return isinstance(self.element, basix.ufl._MixedElement)

    @cached_property
    def conditions(self) -> Conditions:
        """The Dirichlet conditions."""
        items = self.ask(self.problem.boundary, "control", "mu", "t", "x")
        return Conditions(self, items)

    @cached_property
    def residual(self) -> ufl.Form:
        """The residual of a time step."""
        return self._checked_residual(self.problem.residual)

    @cached_property
    def first_residual(self) -> ufl.Form | None:
        """That of the first one, None where it is the same."""
        first = self.problem.first_residual
        return None if first is None else self._checked_residual(first)

    @property
    def two_steps(self) -> bool:
        """Whether the scheme reads u^{n-1}."""
        return contains(self.residual, self.u_older)

    @cached_property
    def costs(self) -> dict[str, ufl.Form]:
        """The terms of the cost."""
        method = self.problem.cost
        terms = self.ask(method, "u", "control", "mu", "t", "x")
        if not isinstance(terms, Mapping) or not terms:
            raise refuse(
                method, f"expected terms by name, as {{'state': u**2 * dx}}, got {terms!r}"
            )
        for name, form in terms.items():
            if not isinstance(form, ufl.Form):
                hint = "; multiply it by dx or ds" if isinstance(form, ufl.core.expr.Expr) else ""
                raise refuse(method, f"term {name!r}: expected a form, got {form!r:.80}{hint}")
            if form.arguments():
                raise refuse(method, f"term {name!r}: expected no test or trial function in it")
        return dict(terms)

    def observed(self) -> list[Any]:
        """Entries of ``observe``. Raises ProblemError where there are none."""
        method = self.problem.observe
        items = self.ask(method, "u", "mu", "t", "x")
        items = list(items) if isinstance(items, Sequence) else [items]
        if not items:
            raise refuse(method, "expected at least one quantity that agents see, got none")
        return items

    def shown(self) -> dict[str, Any]:
        """Fields of pictures by name, by default the first scalar of the state."""
        chosen = self.ask(self.problem.show, "u", "control", "mu", "t", "x")
        if not isinstance(chosen, Mapping):
            raise refuse(
                self.problem.show, f"expected fields by name, as {{'u': u}}, got {chosen!r:.80}"
            )
        if chosen:
            return dict(chosen)
        first = self._arguments["u"][0] if self.mixed else self.u
        return {"u": first if first.ufl_shape == () else ufl.sqrt(ufl.inner(first, first))}

    def _available(self) -> dict[str, Any]:
        split = ufl.split if self.mixed else (lambda function: function)
        functions = {"u": self.u, "u_old": self.u_old, "u_older": self.u_older, "v": self.test}
        return {name: split(function) for name, function in functions.items()} | {
            "control": self.control,
            "mu": self.mu,
            "dt": self.dt,
            "t": self.time,
            "x": ufl.SpatialCoordinate(self.domain.mesh),
        }

    def _checked_residual(self, method: Callable[..., Any]) -> ufl.Form:
        form = self.ask(method)
        if not isinstance(form, ufl.Form):
            raise refuse(method, f"expected a form (its terms times dx or ds), got {form!r:.80}")
        if form.arguments() != (self.test,):
            raise refuse(
                method,
                "expected a form that is linear in the test function v, got one "
                + ("without a test function" if not form.arguments() else "with other arguments"),
            )
        try:
            real = ufl.algorithms.remove_complex_nodes.remove_complex_nodes(
                ufl.algorithms.expand_derivatives(form)
            )
            ufl.algorithms.check_arities.check_form_arity(real, form.arguments(), False)
        except ufl.algorithms.check_arities.ArityMismatch as error:
            raise refuse(
                method, f"every term must hold the test function v once ({error})"
            ) from error
        if not contains(form, self.u):
            raise refuse(method, "expected a residual that depends on u, got one without it")
        if not (contains(form, self.control) or self.conditions.controlled):
            raise refuse(
                method,
                "no term holds the control, nor does a boundary condition: agents act on nothing",
            )
        if self._loses_gradients(method, form):
            raise refuse(
                method,
                f"the gradient of u is zero in every cell, as {self.element} is constant there: "
                "take ('Lagrange', 1), or fluxes between cells by jump(u) and dS",
            )
        return form

    def _loses_gradients(self, method: Callable[..., Any], form: ufl.Form) -> bool:
        """Whether u is differentiated, all derivatives are zero, and nothing couples cells."""
        coupled = any(part.integral_type().startswith("interior") for part in form.integrals())
        if self.mixed or self.element.embedded_superdegree > 0 or coupled or _derivatives(form):
            return False
        # the same form where u is linear in a cell shows what was stated
        shape = self.element.reference_value_shape
        linear = basix.ufl.element("DG", self.domain.mesh.basix_cell(), 1, shape=shape or None)
        space = ufl.FunctionSpace(self.domain.mesh.ufl_domain(), linear)
        names = ("u", "u_old", "u_older")
        instead = {name: ufl.Coefficient(space) for name in names} | {"v": ufl.TestFunction(space)}
        stated = call(method, self._arguments | instead)
        return any(contains(node, instead["u"]) for node in _derivatives(stated))

    def _element(self, method: Callable[..., Any], stated: Any) -> Any:
        """A basix element of what ``space`` or ``control_space`` states."""
        cell = self.domain.mesh.basix_cell()
        if isinstance(stated, list):
            return basix.ufl.mixed_element([self._element(method, part) for part in stated])
        try:
            if isinstance(stated, tuple):
                family, degree, *shape = stated
                size = tuple(shape[0]) if shape and shape[0] else None
                discontinuous = str(family).upper() in ("DG", "DISCONTINUOUS LAGRANGE")
                return basix.ufl.element(
                    "Lagrange" if discontinuous else family,
                    cell,
                    degree,
                    discontinuous=discontinuous or degree == 0,
                    shape=size,
                )
            if isinstance(stated, str):
                raise TypeError("a family needs its degree, as in ('Lagrange', 1)")
            if stated.cell_type != cell:
                raise ValueError(f"its cell is {stated.cell_type.name}, the mesh's {cell.name}")
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise refuse(
                method,
                f"{stated!r} is no element that a mesh of {cell.name} cells carries: "
                f"{' '.join(str(error).split())}",
            ) from error
        return stated

    def _control_element(self) -> Any:
        problem = self.problem
        stated = call(problem.control_space, {})
        if stated is None:
            degree = max(1, int(self.element.embedded_superdegree))
            shape = () if problem.components == 1 else (problem.components,)
            stated = (*(problem.actuators.element or ("Lagrange", degree)), shape)
        element = self._element(problem.control_space, stated)
        size = int(np.prod(element.reference_value_shape, dtype=int))
        if size != problem.components:
            raise refuse(
                problem.control_space,
                f"the control's element has {size} components, but `components` of "
                f"{type(problem).__name__} is {problem.components}",
            )
        return element


def _derivatives(form: ufl.Form) -> list[Any]:
    """The gradients in a form, which UFL leaves out where they are zero."""
    lowered = ufl.algorithms.apply_algebra_lowering.apply_algebra_lowering(form)
    return [
        node
        for part in lowered.integrals()
        for node in ufl.corealg.traversal.unique_pre_traversal(part.integrand())
        if isinstance(node, ufl.classes.Grad)
    ]


class Start:
    """Initial states: ``initial`` interpolated into the space, or into each of its fields."""

    def __init__(self, forms: Forms) -> None:
        self.forms = forms

    def __call__(self, mu: Parameters, draw: object) -> None:
        """Set u to the initial state. Collective.

        Raises:
            ProblemError: on every rank: it does not fit the space.
        """
        forms, function = self.forms, self.forms.u
        function.x.array[:] = 0.0
        if not forms.mixed:
            self._interpolate(function, lambda value: value, mu, draw)
            return
        for index in range(forms.fields):
            self._interpolate(function.sub(index), itemgetter(index), mu, draw)

    def _interpolate(
        self, function: fem.Function, pick: Callable[[Any], Any], mu: Parameters, draw: object
    ) -> None:
        method = self.forms.problem.initial

        def values(x: np.ndarray) -> np.ndarray:
            whole = call(method, {"x": x, "mu": mu, "draw": draw})
            fields = self.forms.fields
            if self.forms.mixed and not (isinstance(whole, list | tuple) and len(whole) == fields):
                raise refuse(method, f"expected a tuple of {fields} fields, got {type(whole)}")
            if whole is None:
                raise refuse(method, "expected values, got None; is a `return` missing?")
            value = pick(whole)
            shape = function.ufl_shape
            expected = (*shape, x.shape[1])
            if np.iscomplexobj(value):
                raise refuse(method, "expected real values, got complex ones")
            array = np.asarray(0.0 if value is None else value, dtype=np.float64)
            if shape and array.shape == shape:
                array = array[:, None]
            try:
                return np.ascontiguousarray(np.broadcast_to(array, expected))
            except ValueError as error:
                raise refuse(
                    method, f"expected values of shape {expected}, got {array.shape}"
                ) from error

        function.interpolate(values)
