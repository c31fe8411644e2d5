"""Dirichlet conditions of a problem, whose values may follow time, parameters and control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.mesh import exterior_facet_indices

from hypemarl.meshing import MeshError
from hypemarl.solvers.jit import JIT, contains
from hypemarl.systems.problem.calls import refuse
from hypemarl.systems.problem.problem import Dirichlet

if TYPE_CHECKING:
    from hypemarl.systems.problem.forms import Forms


class Conditions:
    """The conditions of a problem as dolfinx has them, and their dependence on the control.

    Attributes:
        items: for assembly and for setting values.
        controlled, timed: whether a value depends on the control, or on time.
    """

    def __init__(self, forms: Forms, stated: Sequence[Dirichlet]) -> None:
        self._forms, method = forms, forms.problem.boundary
        stated = [stated] if isinstance(stated, Dirichlet) else stated
        sequence = isinstance(stated, list | tuple)
        if not (sequence and all(isinstance(item, Dirichlet) for item in stated)):
            raise refuse(
                method, f"expected a list of hypemarl.Dirichlet conditions, got {stated!r:.80}"
            )
        parts = [self._make(item) for item in stated]
        self.items = [condition for condition, *_ in parts]
        self._values = [(value, expression) for _, value, expression, _ in parts]
        self._given = expressions = [given for *_, given in parts]
        self.controlled = any(contains(e, forms.control) for e in expressions)
        self.timed = any(contains(e, forms.time) for e in expressions)
        self._slopes = [
            self._slope(given, value.function_space) if contains(given, forms.control) else None
            for _, value, _, given in parts
        ]

    def holds(self, constant: fem.Constant) -> bool:
        """Whether a value depends on a constant. Local."""
        return any(contains(given, constant) for given in self._given)

    def update(self) -> None:
        """Evaluate the values at the present time, parameters and control. Local."""
        for value, expression in self._values:
            value.interpolate(expression)

    def by_amplitudes(self, matrix: Any) -> np.ndarray:
        """Derivatives of the fixed values (n_local, amplitudes), ``matrix`` that of the control.

        Collective.
        """
        forms = self._forms
        columns = np.zeros((matrix.shape[1], len(forms.u.x.array)))
        control = forms.control.x.array.copy()
        for column, amplitude in zip(columns, np.asarray(matrix.todense()).T, strict=True):
            forms.control.x.array[:] = amplitude
            for condition, (value, _), slope in zip(
                self.items, self._values, self._slopes, strict=True
            ):
                if slope is None:
                    # where conditions overlap the last one holds, as in a time step
                    column[condition._cpp_object.dof_indices()[0]] = 0.0
                else:
                    value.interpolate(slope)
                    condition.set(column)
        forms.control.x.array[:] = control
        return columns.T

    def _make(self, item: Dirichlet) -> tuple[Any, fem.Function, fem.Expression, Any]:
        forms, domain, method = self._forms, self._forms.domain, self._forms.problem.boundary
        if item.part is None:
            dim, facets = domain.tdim - 1, exterior_facet_indices(domain.mesh.topology)
        else:
            try:
                dim, facets = domain.entities(item.part)
            except MeshError as error:
                raise refuse(method, f"{item}: {error}") from error
        if forms.mixed and item.field is None:
            raise refuse(method, f"a mixed space: state field=0..{forms.fields - 1} of {item}")
        if item.field is None:
            space, dofs_of, arguments = forms.space, forms.space, list[Any]()
        else:
            if not forms.mixed or not 0 <= item.field < forms.fields:
                count = "is 1, so leave `field` out" if not forms.mixed else f"are {forms.fields}"
                raise refuse(method, f"field {item.field} of {item}: there {count}, from 0 on")
            part = forms.space.sub(item.field)
            space, _ = part.collapse()
            dofs_of, arguments = (part, space), [part]
        value = fem.Function(space)
        stated = item.value
        if isinstance(stated, tuple | list):
            stated = ufl.as_vector(stated)
        elif value.ufl_shape and isinstance(stated, int | float) and stated == 0:
            stated = ufl.as_vector([0.0] * value.ufl_shape[0])
        given = ufl.as_ufl(stated)
        if given.ufl_shape != value.ufl_shape:
            raise refuse(
                method,
                f"{item}: expected a value of shape {value.ufl_shape}, got {given.ufl_shape}",
            )
        dofs = fem.locate_dofs_topological(dofs_of, dim, facets)
        expression = self._expression(given, space)
        value.interpolate(expression)
        return fem.dirichletbc(value, dofs, *arguments), value, expression, given

    def _expression(self, given: Any, space: fem.FunctionSpace) -> fem.Expression:
        anchor = self._forms.constant(0.0)  # names the mesh where the value is a mere number
        held = (
            given + anchor
            if given.ufl_shape == ()
            else given + ufl.as_vector([anchor] * given.ufl_shape[0])
        )
        points = space.element.interpolation_points
        return fem.Expression(held, points() if callable(points) else points, jit_options=dict(JIT))

    def _slope(self, given: Any, space: fem.FunctionSpace) -> fem.Expression:
        """Derivative along the present control, of a value that is linear in it."""
        forms = self._forms
        slope = ufl.derivative(given, forms.control, forms.control)
        probe = ufl.derivative(
            given, forms.control, ufl.TrialFunction(forms.control.function_space)
        )
        if forms.control.function_space.element.basix_element.discontinuous:
            raise refuse(
                forms.problem.boundary,
                "the control jumps between cells, so that it has no value at a node of the "
                "boundary that they share: take Bumps, Hats or Fields in place of Patches",
            )
        if contains(probe, forms.control, forms.time, *forms.parameters.values()):
            raise refuse(
                forms.problem.boundary,
                "the control may enter a boundary value linearly only, with a constant coefficient",
            )
        return self._expression(slope, space)
