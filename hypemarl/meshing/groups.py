"""A mesh as a file holds it, and its groups under our names -> a mesh with named tags."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hypemarl.config.errors import nearest
from hypemarl.meshing.raw import UNTAGGED, MeshError, RawMesh, add_tag, compact, describe_centre

DOMAIN = "domain"
"""The tag that stands for cells; :func:`assemble` looks for other names among the facets first."""


def top_dimension(dims: Iterable[int]) -> int:
    """Dimension of the cells among elements of these dimensions. Raises ValueError: no cells."""
    tdim = max(dims, default=0)
    if tdim == 0:
        raise ValueError("the file holds no mesh (no lines, triangles or tetrahedra)")
    return tdim


def unsupported(kinds: str) -> ValueError:
    """The error of a file with elements of other kinds than straight simplices."""
    return ValueError(
        f"elements of type {kinds} are not supported; write straight (first-order) lines, "
        "triangles or tetrahedra"
    )


@dataclass(frozen=True)
class Group:
    """A named set of cells or facets.

    Attributes:
        name: name, or the number as text.
        dim: topological dimension of the members.
        number: not 0, different for all groups of one dimension.
        members: indices into the cells or the facets of the file, (m,).
    """

    name: str
    dim: int
    number: int
    members: np.ndarray


@dataclass(frozen=True)
class FileMesh:
    """A simplex mesh with its groups; a cell or facet may stand in several.

    Attributes:
        points: (N, 1 to 3) coordinates.
        cells: (M, tdim + 1) point indices.
        facets: (K, tdim) point indices, in a group or not.
        groups: of cells and of facets.

    Raises:
        ValueError: cells or facets with points that do not exist.
    """

    points: np.ndarray
    cells: np.ndarray
    facets: np.ndarray
    groups: list[Group]

    def __post_init__(self) -> None:
        for rows in (self.cells, self.facets):
            if rows.size and (rows.min() < 0 or rows.max() >= len(self.points)):
                raise ValueError(
                    f"elements name points beyond the {len(self.points)} that the file has; it is "
                    f"damaged"
                )

    @property
    def tdim(self) -> int:
        """Topological dimension of the cells."""
        return int(self.cells.shape[1]) - 1

    def rows(self, dim: int) -> np.ndarray:
        """Point indices of the cells or the facets: (m, dim + 1)."""
        return self.cells if dim == self.tdim else self.facets


@dataclass(frozen=True)
class _Tag:
    """Groups that share our names; ``chosen`` by the user, or as the file names them."""

    names: tuple[str, ...]
    groups: tuple[Group, ...]
    chosen: bool

    @property
    def entry(self) -> tuple[int, int]:
        return self.groups[0].dim, self.groups[0].number


def assemble(mesh: FileMesh, source: str, names: Sequence[str] = ()) -> RawMesh:
    """The mesh with its groups as tags.

    Args:
        mesh: content of a file.
        source: the file, for messages.
        names: entries ``ours=theirs``, theirs a name or a number of the file. Several groups may
            become one tag (``walls=a``, ``walls=b``), and one group two tags of the same facets
            (``bottom=a``, ``top=a``). Where a facet stands in a group that is named here and in
            others, the former counts. Other groups keep their names.

    Raises:
        MeshError: an entry that fits no group, two tags for one facet, a mesh that is not flat.
    """
    chosen = _chosen(mesh, names, source)
    tags: dict[str, tuple[int, int]] = {}
    for tag in chosen:
        for name in tag.names:
            add_tag(tags, name, *tag.entry, source)
    cell_values = _values(mesh, mesh.tdim, chosen, source)
    facet_values = _values(mesh, mesh.tdim - 1, chosen, source)
    tagged = facet_values != UNTAGGED
    points, cells, facets = compact(mesh.points, mesh.cells, mesh.facets[tagged], source)
    return RawMesh(points, cells, cell_values, facets, facet_values[tagged], tags)


def _chosen(mesh: FileMesh, names: Sequence[str], source: str) -> list[_Tag]:
    """Every group in one tag, under the names of the entries, else under its name in the file."""
    ours: list[set[str]] = [set() for _ in mesh.groups]
    for entry in names:
        name, _, theirs = (part.strip() for part in entry.partition("="))
        for index in _find(mesh, name, theirs, source):
            ours[index].add(name)
    together: dict[tuple[int, tuple[str, ...]], list[Group]] = {}
    alone = []
    for group, chosen in zip(mesh.groups, ours, strict=True):
        if chosen:
            together.setdefault((group.dim, tuple(sorted(chosen))), []).append(group)
        else:
            alone.append(_Tag((group.name,), (group,), chosen=False))
    tags = [_Tag(key[1], tuple(parts), chosen=True) for key, parts in together.items()]
    seen: set[str] = set()
    for tag in tags:
        if seen & set(tag.names):
            raise MeshError(
                f"{source}: env.mesh.names gives {sorted(seen & set(tag.names))} groups that it "
                f"gives to other tags only in part; two tags share all of their groups or none"
            )
        seen |= set(tag.names)
    return tags + alone


def _find(mesh: FileMesh, name: str, theirs: str, source: str) -> list[int]:
    """Indices of the groups that an entry means."""
    matches = [i for i, group in enumerate(mesh.groups) if group.name == theirs]
    matches = matches or [i for i, group in enumerate(mesh.groups) if str(group.number) == theirs]
    cells = [i for i in matches if mesh.groups[i].dim == mesh.tdim]
    facets = [i for i in matches if mesh.groups[i].dim < mesh.tdim]
    matches = cells if name == DOMAIN else facets or cells
    if not matches:
        hint = nearest(theirs, [group.name for group in mesh.groups], ";")
        raise MeshError(
            f"{source}: env.mesh.names has {name}={theirs}, but the file has no group {theirs!r}"
            f"{' of cells' if name == DOMAIN else ''}{hint} it has {describe_groups(mesh)}"
        )
    return matches


def with_domain(mesh: FileMesh) -> FileMesh:
    """The mesh with all cells as ``domain``, where it has groups of facets only."""
    if {group.dim for group in mesh.groups} != {mesh.tdim - 1}:
        return mesh
    domain = Group(DOMAIN, mesh.tdim, 1, np.arange(len(mesh.cells)))
    return replace(mesh, groups=[domain, *mesh.groups])


def describe_groups(mesh: FileMesh) -> str:
    """Groups as text: ``Fluid (dim 2), Inlet (dim 1)``, cut after twenty."""
    texts = sorted(f"{group.name} (dim {group.dim})" for group in mesh.groups)
    more = [f"and {len(texts) - 20} more"] if len(texts) > 20 else []
    return ", ".join(texts[:20] + more) or "no groups"


def _values(mesh: FileMesh, dim: int, tags: list[_Tag], source: str) -> np.ndarray:
    """Tag number of every cell or facet, 0 without one: (m,) int32."""
    values = np.zeros(len(mesh.rows(dim)), dtype=np.int32)
    for chosen in (True, False):
        free = values == UNTAGGED
        for tag in (tag for tag in tags if tag.chosen == chosen and tag.entry[0] == dim):
            members = np.unique(np.concatenate([group.members for group in tag.groups]))
            members = members[free[members]]
            taken = members[values[members] != UNTAGGED]
            if taken.size:
                other = next(t for t in tags if t.entry == (dim, values[taken[0]]))
                place = describe_centre(mesh.points, mesh.rows(dim)[taken[0]])
                raise MeshError(
                    f"{source}: tag {tag.names[0]!r} overlaps {other.names[0]!r} on {taken.size} "
                    f"{'cells' if dim == mesh.tdim else 'facets'}, the first one at "
                    f"{place}; a cell or facet may have one tag: say by env.mesh.names which group "
                    f"counts"
                )
            values[members] = tag.entry[1]
    return values
