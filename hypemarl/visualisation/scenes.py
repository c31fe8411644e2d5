"""Scenes by the ``kind`` of a recorded episode: which arrays they draw, and who draws them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hypemarl.types import Record
from hypemarl.visualisation.axis_fields import AxisScene
from hypemarl.visualisation.field_scene import FieldScene
from hypemarl.visualisation.flow_fields import FlowScene
from hypemarl.visualisation.forces import LABELS
from hypemarl.visualisation.plane_fields import PlaneScene
from hypemarl.visualisation.problem_axis import SpaceTimeScene
from hypemarl.visualisation.problem_plane import PlaneProblemScene
from hypemarl.visualisation.problem_space import SpaceProblemScene
from hypemarl.visualisation.shape_fields import ShapeScene
from hypemarl.visualisation.style import Scene


@dataclass(frozen=True)
class SceneKind:
    """Drawing of the episodes of a kind.

    Attributes:
        make: the scene of an episode and, where there is one, of the same without control.
        axes: number of axes of the arrays that it needs, beside those of all kinds.
        keeps: names of further arrays that it draws where they are recorded; None: all.
        dimensions: of the domains that it can draw.
    """

    make: Callable[[Record, Record | None], Scene]
    axes: Mapping[str, int]
    keeps: tuple[str, ...] | None = ()
    dimensions: tuple[int, ...] = (1, 2)


_KINDS: dict[str, SceneKind] = {}


def register_scene(kind: str, scene: SceneKind) -> None:
    """Let ``scene`` draw the episodes of plants of this ``kind``.

    Raises:
        ValueError: the kind has a scene already.
    """
    if kind in _KINDS:
        raise ValueError(f"scene {kind!r}: expected a new kind, there is a scene of this one")
    _KINDS[kind] = scene


def scene_kind(kind: str) -> SceneKind:
    """The scene of a kind; where none was registered, the one that draws the first field."""
    return _KINDS.get(kind, GENERIC)


def kind_of(trajectory: Record) -> str:
    """The kind with most arrays among those that the trajectory has all arrays of; empty if none.

    For records that do not name their kind. Kinds without arrays of their own are never meant.
    """
    own = {kind: scene.axes.keys() for kind, scene in _KINDS.items() if scene.axes}
    fitting = [kind for kind, names in own.items() if names <= trajectory.keys()]
    return max(fitting, key=lambda kind: len(own[kind]), default="")


def kinds_in(dimension: int) -> list[str]:
    """Kinds whose scenes can draw domains of this dimension."""
    return [kind for kind, scene in _KINDS.items() if dimension in scene.dimensions]


def _density(data: Record, reference: Record | None) -> Scene:
    scene = AxisScene if data["points"].shape[1] == 1 else PlaneScene
    return scene(data)


def _flow(data: Record, reference: Record | None) -> Scene:
    if reference is not None and not np.array_equal(reference["points"], data["points"]):
        raise ValueError("the uncontrolled flow stands on another mesh; record both again")
    return FlowScene(data, reference)


def _problem(data: Record, reference: Record | None) -> Scene:
    scenes = {1: SpaceTimeScene, 2: PlaneProblemScene, 3: SpaceProblemScene}
    return scenes[data["points"].shape[1]](data, reference)


GENERIC = SceneKind(lambda data, reference: FieldScene(data), {}, None)
FORCES = tuple(LABELS)
register_scene("density", SceneKind(_density, {"velocity": 3, "density": 2, "target": 1}))
register_scene("flow", SceneKind(_flow, {"velocity": 3, "vorticity": 2}, FORCES))
_SHAPE = {"velocity": 3, "vorticity": 2, "points": 3, "cells": 3, "outline": 3, "reference": 2}
register_scene("shape", SceneKind(ShapeScene, _SHAPE, FORCES))
register_scene("problem", SceneKind(_problem, {}, None, (1, 2, 3)))
