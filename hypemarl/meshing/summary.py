"""Size, quality and measures of a mesh, as one row of numbers."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from hypemarl.meshing.distribute import TaggedMesh, gather
from hypemarl.meshing.raw import RawMesh, measures
from hypemarl.types import Row

EQUILATERAL = {1: 1.0, 2: 4.0 * np.sqrt(3.0), 3: 12.0 * 3.0 ** (2.0 / 3.0)}


def edge_lengths(raw: RawMesh) -> np.ndarray:
    """Edge lengths of every cell: (M, edges per cell)."""
    corners = raw.points[raw.cells]
    pairs = combinations(range(raw.tdim + 1), 2)
    return np.stack([np.linalg.norm(corners[:, i] - corners[:, j], axis=1) for i, j in pairs], 1)


def quality(raw: RawMesh) -> np.ndarray:
    """Mean-ratio quality of every cell: (M,), 1 for an equilateral simplex, 0 for a flat one.

    Source: A. Liu and B. Joe, Relationship between tetrahedron shape measures, BIT 34 (1994);
    the triangle's form is 4 sqrt(3) area / sum of squared edges.
    """
    squares = (edge_lengths(raw) ** 2).sum(axis=1)
    volumes = measures(raw.points, raw.cells)
    return EQUILATERAL[raw.tdim] * volumes ** (2.0 / raw.tdim) / squares


def mesh_summary(tagged: TaggedMesh) -> Row:
    """Size, quality and tags of a mesh as one flat dict, equal on every rank. Collective.

    Keys: dimension, cells, vertices, area (length in 1D, volume in 3D), min_quality,
    mean_quality, min_edge, max_edge, tags (sorted names), measure_<name> for every tag, hash.
    """
    raw, summary = gather(tagged), None
    if raw is not None:
        qualities, edges = quality(raw), edge_lengths(raw)
        summary = {
            "dimension": raw.tdim,
            "cells": len(raw.cells),
            "vertices": len(raw.points),
            "area": float(measures(raw.points, raw.cells).sum()),
            "min_quality": float(qualities.min()),
            "mean_quality": float(qualities.mean()),
            "min_edge": float(edges.min()),
            "max_edge": float(edges.max()),
            "tags": sorted(raw.tags),
            "hash": tagged.content_hash,
        }
        for name in sorted(raw.tags):
            summary[f"measure_{name}"] = float(measures(raw.points, raw.members(name)).sum())
    return tagged.mesh.comm.bcast(summary, root=0)
