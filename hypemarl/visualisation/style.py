"""One look for all pictures: colour-blind safe colours, readable sizes, no global state."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.quiver import Quiver
from matplotlib.text import Text

from hypemarl.agents.schemes import schemes

DENSITY_MAP = "viridis"
SIGNED_MAP = "PuOr"
VORTICITY_MAP = "RdBu_r"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours (2008), distinct for every common kind of colour vision."""
DENSITY_COLOUR, CONTROL_COLOUR, TARGET_COLOUR = COLOURS[0], COLOURS[1], COLOURS[6]
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":")
LEVELS = "-- : -."  # line styles of known costs
type Levels = Mapping[str, float]
type Line = Callable[..., object]
LOG_RATIO = 15.0
"""Costs that spread over more than this factor are drawn on a logarithmic axis."""
UNCONTROLLED_PLACE = 4  # among the colours
KINDS = {  # of sharing and of codes, as experiments name them
    "fups": "FuPS",
    "none": "no code (MARL)",
    "hyper-linear": "linear hypernetwork",
    "hyper-mlp": "MLP hypernetwork",
    "hyper-chunked": "chunked hypernetwork",
    "hyper-low-rank": "low-rank hypernetwork",
}
DPI = 160
FRAME_DPI = 128  # inches that are multiples of 1/8 give pixels that are multiples of 16, for films


def scheme_name(scheme: str) -> str:
    """The published name of a sharing scheme, also before a remark; anything else as it is."""
    name, space, remark = scheme.partition(" ")
    titles = {entry.name: entry.title for entry in schemes()} | KINDS
    return titles.get(name, name) + space + remark


def places(labels: Iterable[str]) -> list[int]:
    """A colour and marker index per label, the same for a scheme in every picture.

    Where several labels have the same scheme, the later ones take what no scheme has.
    """
    order, taken = [entry.name for entry in schemes()], set[int]()
    order.insert(UNCONTROLLED_PLACE, "uncontrolled")
    result = []
    for label in labels:
        scheme = label.partition(" ")[0]
        place = order.index(scheme) if scheme in order else len(order)
        while place in taken:
            place = max(place + 1, len(order))
        taken.add(place)
        result.append(place)
    return result


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of ``width`` x ``height`` inches, drawn by Agg without a display."""
    return Figure(figsize=(width, height), layout="constrained")


def chart() -> tuple[Figure, Axes]:
    """A figure of one usual size, and its only axes."""
    figure = new_figure(7.0, 4.2)
    return figure, figure.subplots()


class Scene:
    """Frames of one episode, drawn on a figure of ``width`` x ``height`` inches under a title."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = new_figure(width, height)
        self.figure.set_dpi(FRAME_DPI)
        self._canvas = FigureCanvasAgg(self.figure)
        self._title: Text = self.figure.suptitle(" ")

    def draw(self, frame: int, text: str) -> np.ndarray:
        """One frame under the title ``text`` as an image: (height, width, 3) uint8."""
        self.show(frame)
        self._title.set_text(text)
        self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def show(self, frame: int) -> None:
        """Let the figure show a frame."""
        raise NotImplementedError

    def close(self) -> None:
        """Release windows. By default nothing: the figure is not registered anywhere."""


def plain_axes(axes: Axes, **labels: object) -> None:
    """Set labels, drop the frame's upper and right sides, add a light grid."""
    axes.set(**labels)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)


def frame(axes: Axes, low: np.ndarray, high: np.ndarray) -> None:
    """Show the box between two corners (2,) in its true proportions, without ticks."""
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[], yticks=[])


def plane_arrows(axes: Axes, arrows: Sequence[Any], scale: float = 1.0, **look: Any) -> Quiver:
    """Arrows (x, y, u, v) of the length |(u, v)| / scale in the units of the axes."""
    return axes.quiver(*arrows, angles="xy", scale_units="xy", scale=scale, **look)


type Values = np.ndarray | Sequence[float]


def plot_range(
    axes: Axes,
    x: Values,
    lines: tuple[Values, Values, Values],
    index: int,
    label: str,
    **options: Any,
) -> None:
    """A line of means over the range of the seeds; ``lines``: mean, lowest and highest.

    ``index`` chooses colour and marker, ``options`` are those of ``Axes.plot``.
    """
    mean, low, high = lines
    if not np.array_equal(low, high):
        axes.fill_between(x, low, high, color=COLOURS[index], alpha=0.2, linewidth=0)
    options = {"color": COLOURS[index], "marker": MARKERS[index]} | options
    axes.plot(x, mean, label=label, **options)


def draw_levels(line: Line, levels: Levels, looks: str = LEVELS, *, named: bool = True) -> None:
    """Known values by name, drawn by ``line``: ``axhline`` or ``axvline`` of axes."""
    for (name, level), look in zip(levels.items(), looks.split(), strict=False):
        label = f"{name} ({level:.3g})" if named else None
        line(level, color="0.35", linestyle=look, label=label)


def legend_below(figure: Figure | SubFigure, columns: int, **options: Any) -> None:
    """One legend of all axes, under them; ``options`` are those of ``Figure.legend``."""
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, **options)


def freeze_layout(figure: Figure) -> None:
    """Lay the figure out once and keep it so: frames do not jump, and are drawn faster."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def save(figure: Figure, path: str | Path, legend: int = 0) -> Path:
    """Write a figure, making its folder; returns the path. ``legend``: columns of one, 0: none."""
    if legend:
        legend_below(figure, legend, fontsize="small")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    return path
