"""The mesh of a problem with its named parts, and distances in it where sides are periodic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import ufl
from dolfinx.fem import IntegralType, compute_integration_domains
from dolfinx.mesh import Mesh, compute_midpoints, entities_to_geometry, exterior_facet_indices

from hypemarl.meshing import MeshError, TaggedMesh
from hypemarl.meshing.periodic import carry_tags
from hypemarl.meshing.periodic import periodic as identified
from hypemarl.mpi import bounding_box, sum_over_ranks

Marker = Callable[[np.ndarray], np.ndarray]
"""Coordinates (3, n) -> whether a point belongs to a part (n,)."""


class Domain:
    """A mesh and what of it a problem may name.

    Args:
        mesh: with or without tags; periodic: axes whose two sides are one. Collective.

    Raises:
        MeshError: on every rank: the sides do not match.

    Attributes:
        lower, upper: (gdim,) corners of the bounding box.
        midpoints: (n_cells, gdim) of this rank's cells, ghosts left out.
    """

    def __init__(
        self,
        mesh: Mesh | TaggedMesh,
        periodic: Sequence[int] = (),
    ) -> None:
        tagged = mesh if isinstance(mesh, TaggedMesh) else None
        bare = mesh.mesh if isinstance(mesh, TaggedMesh) else mesh
        self.mesh = identified(bare, periodic) if periodic else bare
        self.comm, self.periodic = self.mesh.comm, tuple(periodic)
        self.gdim, self.tdim = self.mesh.geometry.dim, self.mesh.topology.dim
        for dim in range(self.tdim + 1):
            self.mesh.topology.create_connectivity(dim, self.tdim)
            self.mesh.topology.create_connectivity(self.tdim, dim)
        x = self.mesh.geometry.x[:, : self.gdim]
        self.lower, self.upper = bounding_box(self.comm, x)
        self.n_cells = self.mesh.topology.index_map(self.tdim).size_local
        here = np.arange(self.n_cells, dtype=np.int32)
        self.midpoints = compute_midpoints(self.mesh, self.tdim, here)[:, : self.gdim]
        self._parts = {} if tagged is None else self._tagged_parts(tagged)
        self._measures = self._make_measures()

    def mark(self, markers: Mapping[str, Marker], dim: int) -> None:
        """Name parts of the boundary or, of dimension ``tdim``, of the mesh. Collective.

        Raises:
            MeshError: on every rank: a part is empty, or a name is used twice.
        """
        self._mark(markers, dim)
        self._measures = self._make_measures()

    def offsets(self, points: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """Points (m, gdim) seen from a place (gdim,), the shortest way round. Local."""
        offsets = np.asarray(points)[:, : self.gdim] - centre
        for axis in self.periodic:
            width = self.upper[axis] - self.lower[axis]
            offsets[:, axis] = (offsets[:, axis] + 0.5 * width) % width - 0.5 * width
        return offsets

    def measure(self, kind: str, part: str | None) -> ufl.Measure:
        """The measure ``dx`` or ``ds`` of a part, or of all. Local.

        Raises:
            MeshError: there is no such part of this dimension.
        """
        if part is None:
            return self._measures[kind]
        dim, _ = self.entities(part)
        if dim != (self.tdim if kind == "dx" else self.tdim - 1):
            raise MeshError(f"{kind}({part!r}): {part!r} is a part of dimension {dim}")
        return self._measures[kind](self._numbers[part])

    def entities(self, part: str) -> tuple[int, np.ndarray]:
        """Dimension and local entities of a part. Raises MeshError: there is none. Local."""
        if part not in self._parts:
            known = ", ".join(sorted(self._parts)) or "none (see Problem.parts)"
            raise MeshError(f"no part {part!r} of the mesh; it has {known}")
        return self._parts[part]

    def cells_of(self, part: str) -> np.ndarray:
        """This rank's cells of a part, none for a part of the boundary. Local."""
        dim, entities = self.entities(part)
        return entities[entities < self.n_cells] if dim == self.tdim else entities[:0]

    def middle(self, part: str) -> np.ndarray:
        """Mean of the midpoints (gdim,) of a part's entities. Collective."""
        dim, entities = self.entities(part)
        entities = entities[entities < self.mesh.topology.index_map(dim).size_local]
        points = compute_midpoints(self.mesh, dim, entities)[:, : self.gdim]
        total = sum_over_ranks(self.comm, np.append(points.sum(axis=0), len(points)))
        return np.asarray(total[:-1] / total[-1])

    def _tagged_parts(self, tagged: TaggedMesh) -> dict[str, tuple[int, np.ndarray]]:
        """The tags of a mesh, without the facets of a seam."""
        tags = {self.tdim: tagged.cell_tags, self.tdim - 1: tagged.facet_tags}
        if self.periodic:
            tags = {dim: carry_tags(each, self.mesh) for dim, each in tags.items()}
        return {name: (dim, tags[dim].find(value)) for name, (dim, value) in tagged.tags.items()}

    def _mark(self, markers: Mapping[str, Marker], dim: int) -> None:
        topology = self.mesh.topology
        entities = exterior_facet_indices(topology)
        if dim == self.tdim:
            index = topology.index_map(dim)
            entities = np.arange(index.size_local + index.num_ghosts, dtype=np.int32)
        for name, marker in markers.items():
            if name in self._parts:
                raise MeshError(f"part {name!r} is marked twice, or the mesh has a tag of its name")
            found = self._inside(dim, entities, marker)
            if not self.comm.allreduce(len(found)):
                kind = "cell" if dim == self.tdim else "facet of the boundary"
                raise MeshError(f"part {name!r}: no {kind} has all its vertices there")
            self._parts[name] = dim, found

    def _inside(self, dim: int, entities: np.ndarray, marker: Marker) -> np.ndarray:
        """The entities all of whose nodes a marker holds, on the side of the seam that is theirs.

        A vertex of the seam has two places: dolfinx's own search takes either of them.
        """
        nodes = entities_to_geometry(self.mesh, dim, entities)
        points = self.mesh.geometry.x[nodes.ravel()]
        marks = np.asarray(marker(points.T), dtype=bool).reshape(nodes.shape)
        return np.asarray(entities[marks.all(axis=1)])

    def _make_measures(self) -> dict[str, ufl.Measure]:
        """``dx`` and ``ds`` with the parts as subdomains; a facet may lie in several parts."""
        self._numbers = {name: number for number, name in enumerate(sorted(self._parts), 1)}
        measures = {}
        for kind, dim in (("dx", self.tdim), ("ds", self.tdim - 1)):
            names = [name for name, (of, _) in self._parts.items() if of == dim]
            data: list[tuple[int, np.ndarray]] = [
                (self._numbers[name], self._integration_entities(dim, self._parts[name][1]))
                for name in names
            ]
            measures[kind] = ufl.Measure(kind, domain=self.mesh, subdomain_data=data or None)
        return measures

    def _integration_entities(self, dim: int, entities: np.ndarray) -> np.ndarray:
        """Cells, or (cell, local facet) pairs in a row, that this rank integrates over."""
        if dim == self.tdim:
            return entities[entities < self.n_cells]
        pairs = compute_integration_domains(
            IntegralType.exterior_facet, self.mesh.topology, entities
        )
        return np.asarray(pairs).ravel()
