"""PETSc objects of solvers that nobody uses any more, on several ranks."""

import weakref

from petsc4py import PETSc

from hypemarl.meshing import TaggedMesh


class Abandoned:
    """Frees what solvers on meshes of their own leave behind.

    Destroying a matrix or a solver is collective, and Python drops it on each rank at another time:
    on several ranks petsc4py therefore keeps it, on the communicator of its mesh, until all ranks
    ask PETSc to clean up there. On one rank it is destroyed at once, and nothing happens here.
    """

    def __init__(self) -> None:
        self._watched: list[tuple[TaggedMesh, weakref.ref]] = []

    def watch(self, tagged: TaggedMesh, solver: object) -> None:
        """Clean up after ``solver``, the only one on that mesh, once it is gone. Local."""
        if tagged.mesh.comm.size > 1:
            self._watched.append((tagged, weakref.ref(solver)))

    def free(self) -> None:
        """Clean up after the solvers that are gone on every rank. Collective."""
        kept = []
        for tagged, solver in self._watched:
            comm = tagged.mesh.comm
            if comm.allreduce(int(solver() is None)) == comm.size:
                PETSc.garbage_cleanup(comm)
            else:
                kept.append((tagged, solver))
        self._watched = kept
