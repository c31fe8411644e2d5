"""Films and stills of a recorded episode: densities, flows, shapes in a stream, any problem."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np

from hypemarl.types import Record, Row
from hypemarl.visualisation.forces import draw_forces
from hypemarl.visualisation.offscreen import RenderError
from hypemarl.visualisation.scenes import kind_of, kinds_in, scene_kind
from hypemarl.visualisation.style import scheme_name

__all__ = ["RenderError", "render"]

FILM_SECONDS = 6.0
MIN_RATE = 8  # frames per second
COMMON = {"points": 2, "cells": 2, "times": 1, "positions": 2, "actions": 3, "costs": 1}
"""Number of axes of the arrays of every kind."""
MAY_MOVE = ("points", "cells", "outline")
"""Arrays that are recorded once where they never change."""


def render(
    trajectory: Record,
    out_dir: str | Path,
    film: bool = True,
    stills: Sequence[float] = (0.0, 0.5, 1.0),
    reference: Record | None = None,
) -> list[Path]:
    """Draw a recorded episode: matplotlib in 1D, PyVista off screen in 2D and 3D.

    Colours and axes are the same in every frame. The arrows of a frame are the control
    of the interval that ends there, so the first frame has none. A flow is drawn as vorticity,
    above the uncontrolled ``reference`` if there is one, with drag and lift below; a shape with
    the speed around it, its mesh and its drag; a user's problem, also in 3D, beside the
    uncontrolled ``reference``.

    Args:
        trajectory: as ``hypemarl.training.records.read_trajectory`` returns it.
        out_dir: folder, created where there is none.
        film: write ``film.mp4``, about six seconds.
        stills: fractions of the episode, 0 to 1, each a ``still-<percent>.png``.
        reference: the same episode without control, a trajectory on the same mesh.

    Returns the paths written: film, stills, and for flows with force series ``forces.png``.

    Raises:
        ValueError: an array is absent or its shape does not fit, or a fraction is outside [0, 1].
        RenderError: no off-screen rendering on this machine; the message says what to install.
    """
    data = check_trajectory(trajectory)
    if any(not 0.0 <= fraction <= 1.0 for fraction in stills):
        raise ValueError(f"stills={tuple(stills)} must be fractions of the episode in [0, 1]")
    other = None if reference is None else check_trajectory(reference)
    scene = scene_kind(data["kind"]).make(data, other)
    try:
        written = _draw_frames(scene, data, Path(out_dir), film, stills)
    finally:
        scene.close()
    if "drag" in data:
        both = [data] if reference is None else [data, reference]
        written.append(draw_forces(both, Path(out_dir) / "forces.png"))
    return written


def _draw_frames(
    scene: Any, data: dict[str, Any], out_dir: Path, film: bool, stills: Sequence[float]
) -> list[Path]:
    """Film and stills; returns the paths written."""
    out_dir.mkdir(parents=True, exist_ok=True)
    last = len(data["times"]) - 1
    percents = {round(fraction * last): round(100 * fraction) for fraction in stills}
    written = [out_dir / "film.mp4"] if film else []
    with _film(out_dir / "film.mp4", film, last + 1) as append:
        for frame in range(last + 1) if film else sorted(percents):
            picture = scene.draw(frame, caption(data, frame))
            append(picture)
            if frame in percents:
                written.append(out_dir / f"still-{percents[frame]:03d}.png")
                imageio.imwrite(written[-1], picture)
    return written


def caption(data: Record, frame: int) -> str:
    """Scheme, time and the cost so far."""
    scheme = scheme_name(str(data["scheme"]))
    cost = float(data["costs"][: frame + 1].sum())
    time = f"t = {float(data['times'][frame]):.2f},  cost so far J = {cost:.3f}"
    return f"{scheme},  {time}" if scheme else time


@contextmanager
def _film(path: Path, enabled: bool, frames: int) -> Iterator[Callable[[np.ndarray], None]]:
    """Appends pictures to an H.264 film; each is held so that the film lasts a few seconds."""
    if not enabled:
        yield lambda picture: None
        return
    rate = max(MIN_RATE, round(frames / FILM_SECONDS))
    hold = max(1, round(FILM_SECONDS * rate / frames))
    writer: Any = imageio.get_writer(path, format="FFMPEG", fps=rate, quality=8)
    with writer:

        def append(picture: np.ndarray) -> None:
            for _ in range(hold):
                writer.append_data(picture)

        yield append


def check_trajectory(trajectory: Record) -> Row:
    """The arrays of a trajectory as floats.

    Raises:
        ValueError: names the array, its shape and the one that is expected.
    """
    kind = str(trajectory.get("kind") or kind_of(trajectory))
    drawn = scene_kind(kind)
    required = COMMON | dict(drawn.axes)
    if absent := sorted(set(required) - set(trajectory)):
        raise ValueError(f"the trajectory lacks {', '.join(absent)}; record it again")
    data: Row = {name: np.asarray(trajectory[name]) for name in required}
    frames = len(data["times"])
    for name in MAY_MOVE:
        if required.get(name) == 3 and data[name].ndim == 2:  # it never changed
            data[name] = np.broadcast_to(data[name], (frames, *data[name].shape))
    wrong = {name: data[name].shape for name, axes in required.items() if data[name].ndim != axes}
    if wrong:
        raise ValueError(f"arrays of the trajectory with the wrong number of axes: {wrong}")
    *_, n_points, gdim = data["points"].shape
    agents = len(data["positions"])
    fields = {"density": (frames, n_points), "target": (n_points,)}
    fields |= {"vorticity": (frames, n_points), "velocity": (frames, n_points, gdim)}
    expected = {
        **{name: shape for name, shape in fields.items() if name in required},
        "cells": (*data["cells"].shape[:-1], gdim + 1),
        "positions": (agents, gdim),
        "actions": (frames, agents, data["actions"].shape[2]),
        "costs": (frames,),
    }
    for name, shape in expected.items():
        if data[name].shape != shape:
            raise ValueError(f"trajectory: {name} has shape {data[name].shape}, expected {shape}")
    if frames == 0:
        raise ValueError("the trajectory has no frames to draw; record it again")
    if gdim not in drawn.dimensions:
        others = ", ".join(kinds_in(gdim)) or "none"
        raise ValueError(
            f"episodes of kind {kind!r} can be drawn in {drawn.dimensions} dimensions, "
            f"this one has {gdim}; {gdim}D: only kind {others}"
        )
    keeps = trajectory if drawn.keeps is None else drawn.keeps
    data |= {name: np.asarray(trajectory[name]) for name in keeps if name in trajectory}
    return data | {"kind": kind, "scheme": str(trajectory.get("scheme", ""))}
