"""Encodings, generated weights and responses of all agents, over their positions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hypemarl.visualisation import style

RESPONSES = "Response to the same observations"
ARRAYS = ("positions", "encodings", "weights", "actions")
ANGLES = "angle of the agent, degrees anticlockwise from +x"


def cosine_similarity(rows: np.ndarray) -> np.ndarray:
    """Cosines between the rows of an (n, d) array: (n, n), 0 for zero rows."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, norms, out=np.zeros_like(rows, dtype=float), where=norms > 0.0)
    return np.clip(units @ units.T, -1.0, 1.0)


def draw_policy_map(
    positions: np.ndarray,
    encodings: np.ndarray,
    weights: np.ndarray,
    actions: np.ndarray,
    path: str | Path,
    *,
    action_label: str = "control amplitude",
    angles: np.ndarray | None = None,
) -> Path:
    """Four panels over the agents: encodings, their similarity, the policies', the responses.

    Args:
        positions: (n, gdim) agents' positions.
        encodings: (n, d) positional encodings.
        weights: (n, p) generated policy weights of every agent.
        actions: (n, g) actions of each agent's policy for the same g observations (or g pairs
            of observation and action component); action_label: their name.
        path: picture to write, whose path is returned.
        angles: (n,) angles of agents on a body in rad, in ascending order: the responses are
            drawn over them.

    Raises:
        ValueError: the arrays have not all two axes, or not the same number of agents (angles too).
    """
    _check_rows((positions, encodings, weights, actions), angles)
    figure = style.new_figure(10.5, 8.0)
    (first, second), (third, fourth) = figure.subplots(2, 2)
    labels = ("entry of the encoding", "value")
    _draw_rows(figure, first, encodings, "Encoding of the position", labels)
    _draw_similarity(figure, second, encodings, "encodings")
    _draw_similarity(figure, third, weights, "generated policies")
    _draw_responses(figure, fourth, positions if angles is None else angles, actions, action_label)
    between, within = (np.std(actions, axis=axis).mean() for axis in (0, 1))
    spread = f"responses vary by {between:.2g} between agents, {within:.2g} between observations"
    figure.suptitle(f"Policies over positions, {len(positions)} agents: {spread}")
    return style.save(figure, path)


def _check_rows(arrays: Sequence[np.ndarray], angles: np.ndarray | None) -> None:
    shapes = dict(zip(ARRAYS, map(np.shape, arrays), strict=True))
    count = shapes["positions"][0]
    if any(len(s) != 2 or s[0] != count for s in shapes.values()):
        raise ValueError(f"expected one row per agent in every array, got the shapes {shapes}")
    if angles is not None and np.shape(angles) != (count,):
        raise ValueError(f"expected one angle for each of {count} agents, got {np.shape(angles)}")


def _draw_responses(
    figure: Figure, axes: Axes, places: np.ndarray, actions: np.ndarray, label: str
) -> None:
    """Over the angles (n,) of agents, as a line for each of few in a row (n, 1), or as a map."""
    if places.ndim == 1:
        _draw_over_angles(figure, axes, places, actions, label)
    elif places.shape[1] == 1 and len(places) <= 32:
        _draw_lines(figure, axes, places[:, 0], actions, label)
    else:
        _draw_rows(figure, axes, actions, RESPONSES, ("shared observation", label))


def _draw_rows(
    figure: Figure, axes: Axes, rows: np.ndarray, title: str, labels: tuple[str, str]
) -> None:
    """An (n, d) array as a heat map, symmetric about zero."""
    bound = float(np.abs(rows).max()) or 1.0
    image = axes.imshow(
        rows, aspect="auto", cmap=style.SIGNED_MAP, vmin=-bound, vmax=bound, interpolation="nearest"
    )
    figure.colorbar(image, ax=axes, label=labels[1])
    axes.set(title=title, xlabel=labels[0], ylabel="agent")


def _draw_similarity(figure: Figure, axes: Axes, rows: np.ndarray, name: str) -> None:
    """Cosines between the agents; the colours span their range and show small differences."""
    cosines = cosine_similarity(np.asarray(rows, dtype=float))
    lowest = float(cosines.min())
    image = axes.imshow(
        cosines, cmap=style.DENSITY_MAP, vmin=min(lowest, 1.0 - 1e-6), vmax=1.0, aspect="equal"
    )
    figure.colorbar(image, ax=axes, label="cosine similarity")
    others = cosines[~np.eye(len(cosines), dtype=bool)]
    text = f"\n(between agents: {others.min():.3f} to {others.max():.3f})" if others.size else ""
    axes.set(title=f"Similarity of {name}{text}", xlabel="agent", ylabel="agent")


def _draw_lines(
    figure: Figure, axes: Axes, places: np.ndarray, actions: np.ndarray, label: str
) -> None:
    """One line per agent, coloured by its position."""
    colours = ScalarMappable(Normalize(places.min(), places.max()), style.DENSITY_MAP)
    for place, row in zip(places, actions, strict=True):
        axes.plot(row, color=colours.to_rgba(place), linewidth=1.4)
    figure.colorbar(colours, ax=axes, label="position of the agent")
    style.plain_axes(axes, title=RESPONSES, xlabel="shared observation", ylabel=label)


def _draw_over_angles(
    figure: Figure, axes: Axes, angles: np.ndarray, actions: np.ndarray, label: str
) -> None:
    """One line per shared observation over the agents' angles, coloured by the observation."""
    count = actions.shape[1]
    colours = ScalarMappable(Normalize(0, max(count - 1, 1)), style.DENSITY_MAP)
    for column, shade in zip(actions.T, colours.to_rgba(np.arange(count)), strict=True):
        axes.plot(np.degrees(angles), column, color=shade, linewidth=1.2, marker=".")
    figure.colorbar(colours, ax=axes, label="shared observation, by its size")
    style.plain_axes(axes, title=RESPONSES, xlabel=ANGLES, ylabel=label)
