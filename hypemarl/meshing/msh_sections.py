"""The sections of gmsh's MSH files: nodes, elements, and physical groups of entities."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from hypemarl.meshing.groups import unsupported
from hypemarl.meshing.records import BinaryRecords, Records

Groups = dict[tuple[int, int], list[int]]
"""(dimension, tag of an entity) -> numbers of its physical groups."""

SIMPLICES = {15: 0, 1: 1, 2: 2, 4: 3}
"""Element type -> dimension, of the types that are supported."""
UNSUPPORTED = {
    3: "quadrangle",
    5: "hexahedron",
    6: "prism",
    7: "pyramid",
    8: "line of second order",
    9: "triangle of second order",
    10: "quadrangle of second order",
    11: "tetrahedron of second order",
}


@dataclass(frozen=True)
class Block:
    """Elements of one dimension.

    Attributes:
        dim: dimension.
        nodes: tags of their nodes, (m, dim + 1).
        entity: tags of their geometrical entities, (m,).
        physical: numbers of their physical groups (m,), 0 without; None where entities have them.
    """

    dim: int
    nodes: np.ndarray
    entity: np.ndarray
    physical: np.ndarray | None


@dataclass(frozen=True)
class Content:
    """Content of the sections of a file, in its order; every reader here adds to it.

    Attributes:
        version: of the format.
        tags, points: of the nodes, (n,) and (n, 3) of each block.
        blocks: of elements.
        physical: groups of the geometrical entities.
    """

    version: float
    tags: list[np.ndarray] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    physical: Groups = field(default_factory=dict)

    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Tags in ascending order (N,) and their coordinates (N, 3)."""
        tags = np.concatenate([np.empty(0, dtype=np.int64), *self.tags])
        points = np.concatenate([np.empty((0, 3)), *self.points])
        tags, first = np.unique(tags, return_index=True)
        if len(tags) < len(points):
            raise ValueError(
                f"{len(points) - len(tags)} nodes have the number of another one; damaged file"
            )
        return tags, points[first]

    def elements(self, dim: int) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """Nodes (M, dim + 1) of a dimension, and physical number -> indices of its elements.

        In order of their (lowest) group and entity, the order in which gmsh gives them.
        """
        blocks = [block for block in self.blocks if block.dim == dim]
        nodes = np.concatenate([np.empty((0, dim + 1), dtype=np.int64)] + [b.nodes for b in blocks])
        entity = np.concatenate([np.empty(0, dtype=np.int64)] + [b.entity for b in blocks])
        pairs = [np.empty((0, 2), dtype=np.int64)]
        start = 0
        for block in blocks:
            pairs += _memberships(block, start, self.physical)
            start += len(block.nodes)
        joined = np.concatenate(pairs)
        if any(block.physical is not None for block in blocks):
            nodes, entity, joined = _join_copies(nodes, entity, joined)
        lowest = np.full(len(nodes), np.iinfo(np.int64).max)
        np.minimum.at(lowest, joined[:, 0], joined[:, 1])
        order = np.lexsort([entity, lowest])
        place = np.argsort(order)
        numbers = np.unique(joined[:, 1]).tolist()
        members = {n: np.sort(place[joined[joined[:, 1] == n, 0]]) for n in numbers}
        return nodes[order], members


def _dimension(kind: int) -> int:
    if kind not in SIMPLICES:
        raise unsupported(repr(UNSUPPORTED.get(kind, kind)))
    return SIMPLICES[kind]


def _memberships(block: Block, start: int, groups: Groups) -> list[np.ndarray]:
    """(element, physical number) of a block's elements in groups: arrays (k, 2)."""
    indices = np.arange(start, start + len(block.nodes))
    if block.physical is not None:
        tagged = block.physical != 0
        return [np.column_stack([indices[tagged], block.physical[tagged]])]
    pairs = []
    for entity in np.unique(block.entity):
        here = indices[block.entity == entity]
        for number in groups.get((block.dim, int(entity)), []):
            pairs.append(np.column_stack([here, np.full(len(here), number)]))
    return pairs


def _join_copies(
    nodes: np.ndarray, entity: np.ndarray, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MSH 2 stores an element of two groups twice: one element with both groups.

    Copies in the same group or in none stay, and are refused later.
    """
    _, first, inverse = np.unique(
        np.sort(nodes, axis=1), axis=0, return_index=True, return_inverse=True
    )
    joined = pairs.copy()
    joined[:, 0] = first[inverse.reshape(-1)][pairs[:, 0]]
    if len(first) == len(nodes) or len(np.unique(joined, axis=0)) < len(pairs):
        return nodes, entity, pairs
    kept = np.sort(first)
    joined[:, 0] = np.searchsorted(kept, joined[:, 0])
    return nodes[kept], entity[kept], joined


def read_nodes_2(records: Records, content: Content) -> None:
    """$Nodes of MSH 2: their number, then tag x y z of each."""
    tags, points = records.table(records.count_line())
    content.tags.append(tags)
    content.points.append(points)


def read_nodes_4(records: Records, content: Content) -> None:
    """$Nodes of MSH 4: blocks by entity; in 4.1 tags first, then coordinates."""
    old = content.version == 4.0
    for dim, _, parametric, count in _blocks(records, old, "nodes"):
        if dim not in range(4):
            raise ValueError(f"$Nodes: expected a dimension from 0 to 3, got {dim}; damaged file")
        width = 3 + (dim if parametric else 0)
        if old:
            table = records.floats(count * (1 + width)).reshape(count, 1 + width)
            content.tags.append(table[:, 0].astype(np.int64))
            content.points.append(table[:, 1:4])
        else:
            content.tags.append(records.sizes(count))
            content.points.append(records.floats(count * width).reshape(count, width)[:, :3])


def _blocks(records: Records, old: bool, items: str) -> Iterator[tuple[int, int, int, int]]:
    """Each block of MSH 4: dimension and tag of its entity, a number of its own, count of items.

    Raises:
        ValueError: after the last one, when there were not as many items as promised.
    """
    blocks, total = records.sizes(2 if old else 4)[:2].tolist()
    read = 0
    for _ in range(blocks):
        first, second, further = records.ints(3).tolist()
        count = int(records.sizes(1)[0])
        yield *((second, first) if old else (first, second)), further, count
        read += count
    _require_total(items, read, total)


def read_parametric_nodes_2(records: Records, content: Content) -> None:
    """$ParametricNodes of MSH 2: tag x y z dimension entity, and u, v on curves and surfaces."""
    tags, points = [], []
    for _ in range(records.count_line()):
        tags.append(int(records.ints(1)[0]))
        points.append(records.floats(3))
        records.floats({1: 1, 2: 2}.get(int(records.ints(2)[0]), 0))
    content.tags.append(np.array(tags, dtype=np.int64))
    content.points.append(np.array(points).reshape(-1, 3))


def read_elements_2(records: Records, content: Content) -> None:
    """$Elements of MSH 2, in text: tag, type, number of tags, tags, nodes of each.

    In MSH 1: tag, type, physical number, entity, number of nodes, nodes.
    """
    if isinstance(records, BinaryRecords):
        return _read_binary_elements_2(records, content)
    count, values = records.count_line(), records.rest()
    rows: dict[int, list[list[int]]] = {}
    at = 0
    for _ in range(count):
        head = values[at : at + 3]
        if len(head) < 3 or head[2] < 0:
            raise ValueError(f"$Elements: {count} elements promised, fewer found; damaged file")
        old = content.version < 2.0
        first, start = (at + 2, at + 5) if old else (at + 3, at + 3 + head[2])
        dim, tags = _dimension(head[1]), (values[first:start] + [0, 0])[:2]
        at = start + dim + 1
        if at > len(values):
            raise ValueError(f"$Elements: {count} elements promised, fewer found; damaged file")
        rows.setdefault(dim, []).append(tags + values[start:at])
    if at != len(values):
        raise ValueError(f"$Elements: {count} elements promised, their numbers do not fit; damaged")
    for dim, lists in rows.items():
        _add_2(content, dim, np.array(lists, dtype=np.int64))


def _read_binary_elements_2(records: BinaryRecords, content: Content) -> None:
    """$Elements of MSH 2 in bytes: blocks of one type and number of tags."""
    count, read = records.count_line(), 0
    while read < count:
        kind, here, tags = records.ints(3).tolist()
        dim, width = _dimension(kind), 1 + tags + _dimension(kind) + 1
        if here < 1 or tags < 0:
            raise ValueError(f"$Elements: a block of {here} elements, {tags} tags; damaged file")
        table = records.ints(here * width).reshape(here, width)
        first = np.zeros((here, 2), dtype=np.int64)
        first[:, : min(tags, 2)] = table[:, 1 : 1 + min(tags, 2)]
        _add_2(content, dim, np.column_stack([first, table[:, 1 + tags :]]))
        read += here
    _require_total("elements", read, count)


def _add_2(content: Content, dim: int, rows: np.ndarray) -> None:
    """Rows of physical number (negative: turned around), entity and nodes."""
    content.blocks.append(Block(dim, rows[:, 2:], rows[:, 1], np.abs(rows[:, 0])))


def read_elements_4(records: Records, content: Content) -> None:
    """$Elements of MSH 4: blocks by entity and type."""
    for dim, entity, kind, count in _blocks(records, content.version == 4.0, "elements"):
        if _dimension(kind) != dim:
            raise ValueError(
                f"$Elements: elements of type {kind} on an entity of dimension {dim}; damaged file"
            )
        rows = records.sizes(count * (dim + 2)).reshape(count, dim + 2)
        content.blocks.append(Block(dim, rows[:, 1:], np.full(count, entity), None))


def _require_total(kind: str, read: int, promised: int) -> None:
    if read != promised:
        raise ValueError(f"{promised} {kind} promised, {read} present; the file is damaged")


def read_partitions(records: Records, content: Content) -> None:
    """$PartitionedEntities: entities of partitions, each with its groups.

    Ghost elements (another section) are cells of another partition, and are skipped.
    """
    records.sizes(1)
    records.ints(2 * int(records.sizes(1)[0]))
    read_entities(records, content, partitioned=True)


def read_entities(records: Records, content: Content, *, partitioned: bool = False) -> None:
    """$Entities: bounding box, physical groups and boundary of each entity."""
    for dim, count in enumerate(records.sizes(4).tolist()):
        for _ in range(count):
            tag = int(records.ints(3 if partitioned else 1)[0])  # and its parent's dimension, tag
            if partitioned:
                records.ints(int(records.sizes(1)[0]))
            records.floats(3 if dim == 0 and content.version > 4.0 else 6)
            numbers = records.ints(int(records.sizes(1)[0])).tolist()
            # negative numbers of groups only turn the orientation around
            content.physical[dim, tag] = sorted({abs(n) for n in numbers})
            if dim > 0:
                records.ints(int(records.sizes(1)[0]))
