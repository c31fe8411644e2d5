"""The run folder: what a training run leaves on disk, and the functions that read it back.

::

    runs/<name>/config.yaml        the resolved configuration
               metrics.jsonl      one object per line, see below
               tensorboard/       the same numbers as events
               checkpoints/       last.pt, best.pt
               evaluation.json    result of ``hypemarl evaluate``
               trajectory.npz     one recorded episode
               uncontrolled.npz   the same episode without control (flows)

Every line of ``metrics.jsonl`` has ``kind``, ``episode`` (from 1), ``step`` (control steps so far)
and ``seconds``. Kinds: ``episode`` (return_mean, cost, length, random), ``update`` (losses,
averaged over an episode), ``validation`` (cost, cost_std, uncontrolled, failures), ``failure``
(failure, length), ``diagnostic`` (see :mod:`hypemarl.agents.diagnostics`), ``warning`` (warning,
text). Numbers that are not finite are written as null. Writing is for rank 0 only.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hypemarl import config as configuration
from hypemarl.config import Config, ConfigError
from hypemarl.training.checkpoint import write_atomically

Metric = dict[str, Any]

MOVING = ("actions", "density", "velocity", "pressure", "vorticity")
"""What is kept for every frame of a trajectory, also where it happens not to change."""


class RunError(RuntimeError):
    """A run folder is missing, occupied or damaged."""


class RunFolder:
    """Names of the files of a run. Creates nothing by itself."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.last = self.path / "checkpoints" / "last.pt"
        self.best = self.path / "checkpoints" / "best.pt"
        self.evaluation = self.path / "evaluation.json"
        self.trajectory = self.path / "trajectory.npz"
        self.uncontrolled = self.path / "uncontrolled.npz"

    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.config.exists() or self.metrics.exists() or self.last.exists()

    def check_free(self) -> None:
        """Raise :class:`RunError` where a run was started here."""
        if self.exists():
            raise RunError(
                f"{self.path} already holds a run: continue it with --resume, replace it with "
                "--overwrite, or name another folder"
            )

    def begin(self, config: Config, *, resume: bool, overwrite: bool) -> None:
        """Claim the folder for ``config``. Raises :class:`RunError` where a run is in it."""
        if not (resume or overwrite):
            self.check_free()
        if overwrite and not resume:
            self._clear()
        self.path.mkdir(parents=True, exist_ok=True)
        text = configuration.to_yaml(config).encode()
        write_atomically(self.config, lambda stream: stream.write(text))

    def _clear(self) -> None:
        """Remove the files of a run and nothing else that may be in the folder."""
        for folder in (self.tensorboard, self.last.parent):
            if folder.is_dir():
                shutil.rmtree(folder)
        results = (self.evaluation, self.trajectory, self.uncontrolled)
        for file in (self.config, self.metrics, *results):
            file.unlink(missing_ok=True)

    def read_config(self) -> Config:
        """The resolved configuration of the run. Raises :class:`RunError` where none loads."""
        if not self.config.is_file():
            raise RunError(f"{self.path} is no run folder: it has no config.yaml")
        try:
            return configuration.load_file(self.config)
        except ConfigError as error:
            raise RunError(
                f"{error}. Mend config.yaml, or train the run on with --resume and its settings, "
                "which writes it anew"
            ) from error


class Recorder:
    """Appends metrics to a run folder, one flushed line each, and to TensorBoard."""

    def __init__(self, folder: RunFolder, *, tensorboard: bool, after_episode: int = 0) -> None:
        """``after_episode``: later lines belong to a part of the run that is repeated: dropped."""
        truncate_metrics(folder.metrics, after_episode)
        self._stream = folder.metrics.open("a", encoding="utf-8")
        self._writer: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder.tensorboard), purge_step=after_episode + 1)

    def write(self, kind: str, episode: int, step: int, seconds: float, **values: Any) -> None:
        """Append one line; finite numbers also go to TensorBoard under ``kind/name``."""
        head = {"kind": kind, "episode": episode, "step": step, "seconds": round(seconds, 3)}
        self._stream.write(json.dumps(plain(head | values), allow_nan=False) + "\n")
        self._stream.flush()
        if self._writer is None:
            return
        for name, value in values.items():
            if isinstance(value, int | float) and math.isfinite(value):
                self._writer.add_scalar(f"{kind}/{name}", value, episode)

    def close(self) -> None:
        """Close the files."""
        self._stream.close()
        if self._writer is not None:
            self._writer.close()


def plain(value: Any) -> Any:
    """``value`` with NumPy types made Python's and non-finite numbers made None (for JSON)."""
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object atomically; non-finite numbers become null."""
    text = json.dumps(plain(content), indent=2, allow_nan=False) + "\n"
    write_atomically(Path(path), lambda stream: stream.write(text.encode()))


def read_metrics(path: str | Path) -> list[Metric]:
    """All lines of a run (folder or file); a last line that was cut while written is left out.

    Raises :class:`RunError` where the file is missing or an inner line is damaged.
    """
    path = Path(path)
    file = RunFolder(path).metrics if path.is_dir() else path
    if not file.is_file():
        raise RunError(f"{file}: no metrics there; name the folder of a run")
    lines = file.read_text(encoding="utf-8").splitlines()
    metrics = []
    for number, line in enumerate(lines, 1):
        try:
            metrics.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise RunError(f"{file}:{number}: not a JSON object: {line[:60]!r}") from error
    return metrics


def truncate_metrics(file: Path, after_episode: int) -> None:
    """Keep the lines up to and including ``after_episode``; a missing file stays missing."""
    if not file.is_file():
        return
    kept = [line for line in read_metrics(file) if line["episode"] <= after_episode]
    text = "".join(json.dumps(line) + "\n" for line in kept)
    write_atomically(file, lambda stream: stream.write(text.encode()))


def write_trajectory(path: str | Path, trajectory: Mapping[str, Any]) -> None:
    """Write one episode, atomically; keys and shapes are those of :func:`read_trajectory`."""
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in trajectory.items()}
    write_atomically(Path(path), lambda stream: np.savez_compressed(stream, **arrays))


def stack_frames(frames: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """F frames of ``env.record()`` as one trajectory: arrays stacked by key.

    Fields on the N points and the actions become (F, ...); what has no time in it is kept once:
    points, cells, positions, and everything else that never changes (the target, the arcs).
    """
    first = frames[0]
    stacked: dict[str, Any] = {"times": np.array([frame["time"] for frame in frames])}
    for name in first:
        values = [np.asarray(frame[name]) for frame in frames]
        moving = name in MOVING or any(not np.array_equal(v, values[0]) for v in values[1:])
        if name != "time":
            stacked[name] = np.stack(_alike(values)) if moving else values[0]
    stacked["kind"] = np.asarray(kind_of(stacked))
    return stacked


def _alike(values: list[np.ndarray]) -> list[np.ndarray]:
    """Arrays of one length, of meshes that were made anew: the last row is repeated.

    A node without cells, or a cell that is there twice, changes no picture.
    """
    if len({len(value) for value in values if value.ndim}) < 2:
        return values
    longest = max(len(value) for value in values)
    return [
        np.concatenate([value, np.repeat(value[-1:], longest - len(value), axis=0)])
        for value in values
    ]


def kind_of(trajectory: Mapping[str, Any]) -> str:
    """``shape`` where there is an outline, ``flow`` where there is vorticity, else ``density``."""
    if "outline" in trajectory:
        return "shape"
    return "flow" if "vorticity" in trajectory else "density"


def read_trajectory(path: str | Path) -> dict[str, Any]:
    """One recorded episode of F frames from a file or run folder.

    Keys of all: kind ("density", "flow", "shape"), points (N, gdim), cells (M, gdim+1), times (F,),
    positions (n, gdim), actions (F, n, m) and costs (F,) of the interval that ends at the frame
    (zero in the first), mu (n_mu,), scheme. Density: density (F, N), target (N,), velocity
    (F, N, gdim). Flow: velocity (F, N, 2), pressure and vorticity (F, N), and over the T time
    steps of the episode drag, lift and dissipation (T,), as far as the plant reports them. Shape:
    as flow, with outline (F, k, 2) and reference (k, 2); points and outline have no first axis
    where nothing moved, cells (F, M, 3) have one where a mesh was made anew.
    Raises :class:`RunError`.
    """
    path = Path(path)
    file = RunFolder(path).trajectory if path.is_dir() else path
    if not file.is_file():
        raise RunError(f"{file}: no trajectory there; record one with hypemarl render or simulate")
    try:
        with np.load(file, allow_pickle=False) as stored:
            content: dict[str, Any] = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError) as error:
        raise RunError(f"{file}: not a trajectory that loads ({error}); record it again") from error
    content["scheme"] = str(content.get("scheme", ""))
    content["kind"] = str(content.get("kind", kind_of(content)))
    return content
