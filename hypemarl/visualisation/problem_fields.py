"""Episodes of problems that users write, in any dimension: what is drawn, and its colours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patheffects import withStroke

from hypemarl.types import Record, Row
from hypemarl.visualisation import style
from hypemarl.visualisation.field_scene import FIXED
from hypemarl.visualisation.forces import LABELS
from hypemarl.visualisation.offscreen import round_up

NO_FIELDS = (*FIXED, *LABELS, "target")
"""Arrays that are never the main field."""
SIGNED = 0.05
"""A field changes sign where the smaller of its two sides is more than this of the larger one;
less is an undershoot of the discretisation."""
REFERENCE_ROOM = 10.0
"""An uncontrolled field that grows beyond this many times the controlled one is clipped, so that
the controlled one can still be seen."""
ACTION_MAP = style.SIGNED_MAP
STACKED = 0.5
"""Panels lower than this share of their width stand above each other, others side by side."""

PANEL_WIDTH = {1: 6.0, 2: 4.75, 3: 4.0}
"""Inches, by the number of panels side by side."""

MANY = 36
"""Agents, beyond which their discs are smaller."""


@dataclass(frozen=True)
class Colours:
    """Colour map of values, the same in all frames and panels; ``extend`` as matplotlib has it."""

    name: str
    limits: tuple[float, float]
    extend: str = "neither"

    @property
    def mappable(self) -> ScalarMappable:
        """For a colour bar."""
        return ScalarMappable(Normalize(*self.limits), self.name)


class Problem:
    """An episode and, where there is one, the same without control.

    Args:
        data, reference: as ``fields.check_trajectory`` returns them.

    Attributes:
        label: name of the main field, the first that was recorded.
        runs: its values (F, N), of vectors their lengths (in 1D the component), with control, then
            without.
        titles: of the runs.
        target: (F, N) or None, and ``target_moves``, whether it changes in time.
        actions: (F, n) first components, and ``bound``, the end of their symmetric scale.

    Raises:
        ValueError: no field was recorded, or the reference has another mesh or lacks the field.
    """

    def __init__(self, data: Record, reference: Record | None = None) -> None:
        self.data = data
        self.points, self.cells = data["points"], data["cells"]
        self.positions, self.times = data["positions"], data["times"]
        name = main_field(data)
        self.label = f"${name}$" if len(name) == 1 else name.replace("$", r"\$")
        self.runs, self.titles = [nodal_values(data, name)], ["with control"]
        if str(data.get("scheme", "")).startswith("uncontrolled"):
            self.titles = ["without control"]
        if reference is not None:
            self.runs.append(_reference_values(data, reference, name))
            self.titles.append("without control")
        self.target = nodal_values(data, "target") if "target" in data else None
        self.target_moves = self.target is not None and bool((self.target != self.target[0]).any())
        self.colours = field_colours(self.runs, self.target)
        self.actions = np.asarray(data["actions"][:, :, 0], dtype=float)
        self.bound = round_up(float(np.abs(self.actions).max(initial=0.0)))
        size = data["actions"].shape[2]
        self.action_label = "action" if size == 1 else f"action (first of {size} components)"

    @property
    def action_colours(self) -> Colours:
        """Of the agents."""
        return Colours(ACTION_MAP, (-self.bound, self.bound))

    def values(self, run: int, frame: int) -> np.ndarray:
        """Field (N,) of a run; one that ended before stays as it was."""
        return np.asarray(self.runs[run][min(frame, len(self.runs[run]) - 1)])


def _reference_values(data: Record, reference: Record, name: str) -> np.ndarray:
    if not np.array_equal(reference["points"], data["points"]):
        raise ValueError("the episode without control stands on another mesh; record both again")
    if name not in reference:
        raise ValueError(f"the episode without control lacks {name!r}; record both again")
    return nodal_values(reference, name)


def main_field(data: Record) -> str:
    """Name of the first array at the points.

    Raises:
        ValueError: there is none; names what was recorded.
    """
    arrays = {n: v for n, v in data.items() if isinstance(v, np.ndarray) and n not in NO_FIELDS}
    for name, values in arrays.items():
        if _fits(data, values):
            return name
    frames, points = len(data["times"]), len(data["points"])
    found = ", ".join(f"{name} {values.shape}" for name, values in arrays.items()) or "nothing"
    raise ValueError(
        f"the trajectory has no field to draw: expected an array of shape ({frames}, {points}) or "
        f"({points},) beside the target, got {found}; return one from the plant's fields()"
    )


def _fits(data: Record, values: np.ndarray) -> bool:
    frames, (points, gdim) = len(data["times"]), data["points"].shape
    shapes = {(points,), (points, gdim)}
    return (
        values.dtype.kind in "fiub"
        and bool({values.shape, values.shape[1:]} & shapes)
        and (values.shape in shapes or values.shape[0] == frames)
    )


def nodal_values(data: Record, name: str) -> np.ndarray:
    """Values (F, N) of a field that may be constant in time; of vectors the lengths, in 1D as is.

    Raises:
        ValueError: its shape does not fit the points; names both.
    """
    values = np.asarray(data[name])
    frames, (points, gdim) = len(data["times"]), data["points"].shape
    if not _fits(data, values):
        raise ValueError(
            f"trajectory: {name} has shape {values.shape}, expected ({frames}, {points}) or "
            f"({points},), or the same with a last axis of {gdim}"
        )
    values = values.astype(float)
    if values.shape in {(points, gdim), (frames, points, gdim)}:
        values = values[..., 0] if gdim == 1 else np.linalg.norm(values, axis=-1)
    return np.broadcast_to(values, (frames, points))


def field_colours(runs: Sequence[np.ndarray], target: np.ndarray | None) -> Colours:
    """Colours of the runs, the first of which must be seen well: symmetric where signs change."""
    own = [runs[0]] if target is None else [runs[0], target]
    low, high = _extremes(own)
    lowest, highest = _extremes([*own, *runs[1:]])
    room = REFERENCE_ROOM * (max(abs(low), abs(high)) or np.inf)
    below, above = lowest < -room, highest > room
    low, high = max(lowest, -room), min(highest, room)
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}
    ends = extend.get((below, above), "neither")
    if min(-low, high) > SIGNED * max(-low, high):
        bound = round_up(max(-low, high))
        return Colours(style.VORTICITY_MAP, (-bound, bound), ends)
    if low >= 0.0 and low < 0.3 * high:
        low, high = 0.0, round_up(high)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    return Colours(style.DENSITY_MAP, (low, high), ends)


def _extremes(fields: Sequence[np.ndarray]) -> tuple[float, float]:
    """Lowest and highest of the finite values: an episode that fails may end with others."""
    finite = [values[np.isfinite(values)] for values in fields]
    low = min((float(values.min()) for values in finite if values.size), default=0.0)
    return low, max((float(values.max()) for values in finite if values.size), default=0.0)


class PanelScene(style.Scene):
    """One panel per picture and two colour bars: of the field, and of the agents' actions.

    Args:
        problem: what is drawn.
        titles: of the panels.
        extent: width and height of a panel, in any unit.
    """

    def __init__(self, problem: Problem, titles: Sequence[str], extent: np.ndarray) -> None:
        self.problem = problem
        ratio, count = float(extent[1] / extent[0]), len(titles)
        columns = 1 if ratio < STACKED else count
        rows = count // columns
        self._beside = columns > 1
        width = min(PANEL_WIDTH[columns] if rows == 1 else 8.0, 6.5 / ratio)
        # Around the panels: ticks and labels, the bars, titles.
        size = max(6.5, columns * (width + 0.4) + 1.4), rows * (width * ratio + 0.5) + 1.9
        super().__init__(*(float(np.ceil(8.0 * side) / 8.0) for side in size))
        self.panels: list[Axes] = list(self.figure.subplots(rows, columns, squeeze=False).flat)
        if count > 1:
            for axes, title in zip(self.panels, titles, strict=True):
                axes.set_title(title, fontsize="medium")
        self.figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
        field, actions = problem.colours, problem.action_colours
        right: Row = {"fraction": 0.04, "aspect": 30, "pad": 0.02, "extend": field.extend}
        self.bar = self.figure.colorbar(
            field.mappable, ax=self.panels, label=problem.label, **right
        )
        below: Row = {
            "location": "bottom",
            "fraction": 0.04,
            "aspect": 40,
            "shrink": 0.7,
            "pad": 0.03,
        }
        label = f"{problem.action_label} of the agents"
        self.figure.colorbar(actions.mappable, ax=self.panels, label=label, **below)

    def draw_agents(self, places: np.ndarray, share: np.ndarray | float = 1.0) -> None:
        """Discs at places (n, 2) of the first panel; ``share``: their areas (n,), of the usual."""
        problem = self.problem
        x, y = places.T
        areas = np.broadcast_to(share, len(places)) * (90.0 if len(places) <= MANY else 40.0)
        colours: Row = {"c": problem.actions[0], "cmap": ACTION_MAP}
        look: Row = {"edgecolors": "black", "linewidths": 1.0, "zorder": 4.0, "clip_on": False}
        look["path_effects"] = [withStroke(linewidth=3.0, foreground="white")]  # on dark fields
        ends: Row = {"vmin": -problem.bound, "vmax": problem.bound}
        self.agents = self.panels[0].scatter(x, y, areas, **colours, **ends, **look)

    def label_panels(self, xlabel: str, ylabel: str) -> None:
        """Labels at the outer panels only: all have the same axes."""
        beside = self._beside
        for axes in self.panels:
            axes.tick_params(labelsize="small")
        for axes in self.panels if beside else self.panels[-1:]:
            axes.set_xlabel(xlabel)
        for axes in self.panels[:1] if beside else self.panels:
            axes.set_ylabel(ylabel)
