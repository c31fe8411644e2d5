"""Meshes and a Poisson problem for the tests of periodic meshes, on one rank and on several."""

from __future__ import annotations

from typing import Any

import numpy as np
import ufl
from dolfinx import default_scalar_type, fem, mesh
from dolfinx.la import InsertMode
from mpi4py import MPI

from hypemarl.meshing.periodic import periodic
from hypemarl.solvers.fem_petsc import petsc

ONE = default_scalar_type(1.0)


def rectangle(comm: MPI.Intracomm, n: int, cells: str = "triangle") -> mesh.Mesh:
    """(0, 2) x (0, 1) with n by n + 1 rectangles, whole or cut into triangles."""
    kind = mesh.CellType[cells]
    ghosts = mesh.GhostMode.shared_facet
    return mesh.create_rectangle(comm, [(0, 0), (2, 1)], [n, n + 1], kind, ghost_mode=ghosts)


def interval(comm: MPI.Intracomm, n: int) -> mesh.Mesh:
    return mesh.create_interval(comm, n, (0.0, 2.0))


def total(comm: MPI.Intracomm, form: Any) -> float:
    """The integral over all ranks."""
    return float(comm.allreduce(fem.assemble_scalar(fem.form(form))))


def n_dofs(whole: mesh.Mesh, degree: int) -> int:
    return int(fem.functionspace(whole, ("Lagrange", degree)).dofmap.index_map.size_global)


def exact(whole: mesh.Mesh, axes: tuple[int, ...]) -> Any:
    """Smooth, of period 2 in x[0] and 1 in x[1], without slope at the sides of other axes."""
    x = ufl.SpatialCoordinate(whole)
    product = ONE
    for axis in range(whole.geometry.dim):
        wave = np.pi if axis == 0 else 2 * np.pi
        product *= ufl.sin(wave * x[axis] + 0.3) if axis in axes else ufl.cos(wave * x[axis])
    return product


def poisson(given: mesh.Mesh, axes: tuple[int, ...], factor: str) -> np.ndarray:
    """-div grad u + u = f with P2: L2 error, integral of (2 + u)^3, squared jumps of the slope."""
    whole = periodic(given, axes)
    space = fem.functionspace(whole, ("Lagrange", 2))
    u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
    wanted = exact(whole, axes)
    source = wanted - ufl.div(ufl.grad(wanted))
    a = fem.form((ufl.inner(ufl.grad(u), ufl.grad(v)) + ufl.inner(u, v)) * ufl.dx)
    matrix, vector = petsc.assemble_matrix(a), petsc.create_vector(space)
    matrix.assemble()
    petsc.assemble_vector(vector, fem.form(ufl.inner(source, v) * ufl.dx(whole)))
    vector.ghostUpdate(addv=petsc.PETSc.InsertMode.ADD, mode=petsc.PETSc.ScatterMode.REVERSE)
    solver = petsc.PETSc.KSP().create(whole.comm)
    solver.setOperators(matrix)
    solver.setType("preonly")
    solver.getPC().setType("lu")
    solver.getPC().setFactorSolverType(factor)
    solution = fem.Function(space)
    solver.solve(vector, solution.x.petsc_vec)
    solution.x.scatter_forward()
    for held in (solver, matrix, vector):
        held.destroy()
    whole.topology.create_connectivity(whole.topology.dim - 1, whole.topology.dim)
    normal = ufl.FacetNormal(whole)
    slope = ufl.inner(ufl.jump(ufl.grad(solution), normal), ufl.jump(ufl.grad(solution), normal))
    forms = [(solution - wanted) ** 2 * ufl.dx, (2 + solution) ** 3 * ufl.dx, slope * ufl.dS]
    numbers = [total(whole.comm, form) for form in forms]
    return np.array([np.sqrt(numbers[0]), *numbers[1:]])


def sums(given: mesh.Mesh, axes: tuple[int, ...]) -> np.ndarray:
    """Sizes, numbers of dofs, and what a scatter in both directions gives on a periodic mesh."""
    whole = periodic(given, axes)
    comm, tdim = whole.comm, whole.topology.dim
    whole.topology.create_connectivity(tdim - 1, tdim)
    space = fem.functionspace(whole, ("Lagrange", 2))
    ones = fem.Function(space)
    n_owned = space.dofmap.index_map.size_local
    ones.x.array[:n_owned] = 1.0
    ones.x.scatter_forward()
    load = fem.assemble_vector(fem.form(ufl.TestFunction(space) * ufl.dx))
    load.scatter_reverse(InsertMode.add)
    return np.array(
        [
            total(comm, ones * ufl.dx),
            total(comm, ones * ufl.ds),
            total(comm, ufl.avg(ones) * ufl.dS),
            comm.allreduce(float(load.array[:n_owned].sum())),
            comm.allreduce(float((load.array[:n_owned] ** 2).sum())),
            n_dofs(whole, 1),
            n_dofs(whole, 2),
            n_dofs(whole, 3),
        ]
    )
