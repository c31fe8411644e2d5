"""Maps of the recovered share over two parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.patches import Rectangle

from hypemarl.visualisation import style


@dataclass(frozen=True)
class Axis:
    """One parameter over the map: its column, name, values (k,), and training range."""

    column: int
    name: str
    values: np.ndarray
    low: float
    high: float


def draw_share_maps(
    shares: Mapping[str, np.ndarray], axes: Sequence[Axis], path_png: str | Path
) -> Path:
    """One panel per policy: the share at each pair of values, the training range as a frame.

    Args:
        shares: label -> (k0, k1) recovered shares; axes: the two parameters;
            path_png: picture to write, whose path is returned.
    """
    figure = style.new_figure(4.2 * len(shares) + 0.6, 4.0)
    panels = np.atleast_1d(figure.subplots(1, len(shares), sharey=True))
    first, second = axes
    image = None
    for panel, (label, share) in zip(panels, shares.items(), strict=True):
        image = panel.pcolormesh(
            first.values, second.values, share.T, cmap="viridis", vmin=0.0, vmax=1.0
        )
        for i, x in enumerate(first.values):
            for j, y in enumerate(second.values):
                colour = "black" if share[i, j] > 0.6 else "white"
                text = f"{100 * share[i, j]:.0f}"
                panel.text(x, y, text, ha="center", va="center", color=colour, fontsize=8)
        frame = Rectangle(
            (first.low, second.low),
            first.high - first.low,
            second.high - second.low,
            fill=False,
            edgecolor=style.CONTROL_COLOUR,
            linewidth=2,
        )
        panel.add_patch(frame)
        panel.set(title=label, xlabel=first.name.replace("_", " "))
    panels[0].set_ylabel(second.name.replace("_", " "))
    if image is not None:
        figure.colorbar(image, ax=list(panels), label="recovered share; frame: training range")
    return style.save(figure, path_png)
