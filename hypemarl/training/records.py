"""The run folder: what a training run leaves on disk, and the functions that read it back.

::

    runs/<name>/config.yaml        the resolved configuration
               metrics.jsonl      one object per line, see below
               tensorboard/       the same numbers as events
               checkpoints/       last.pt, best.pt, records.npz (a copy of config and metrics);
                                  earlier-best.pt, where a user's changed file has new costs
               evaluation.json    result of ``hypemarl evaluate``
               trajectory.npz     one recorded episode
               uncontrolled.npz   the same episode without control (flows)

Every line of ``metrics.jsonl`` has ``kind``, ``episode`` (from 1), ``step`` (control steps so far)
and ``seconds``. Kinds: ``episode`` (return_mean, cost, length, random), ``update`` (losses,
averaged over an episode), ``validation`` (cost, cost_std, uncontrolled, failures), ``failure``
(failure, length), ``diagnostic`` (see :mod:`hypemarl.agents.diagnostics`), ``warning`` (warning,
text), ``gap`` (missing, first, last: episodes whose records were lost before a resume). Numbers
that are not finite are written as null. Writing is for rank 0 only, and for one process at a time:
while it trains, ``.lock`` in the folder says which.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hypemarl import config as configuration
from hypemarl import files
from hypemarl.config import Config, ConfigError
from hypemarl.mpi import note
from hypemarl.training import metrics
from hypemarl.training.metrics import Gap, Metric, Records, RunError
from hypemarl.types import Json, Record, Row

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


__all__ = ["Metric", "Recorder", "RunError", "RunFolder", "read_metrics", "read_trajectory"]

MOVING = ("actions", "density", "velocity", "pressure", "vorticity")
"""Arrays kept for every frame of a trajectory, also where they happen not to change."""


class RunFolder:
    """Names of the files of a run. Creates nothing by itself."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.last = self.path / "checkpoints" / "last.pt"
        self.best = self.path / "checkpoints" / "best.pt"
        self.earlier_best = self.path / "checkpoints" / "earlier-best.pt"
        self.copy = self.path / "checkpoints" / "records.npz"
        self.evaluation = self.path / "evaluation.json"
        self.trajectory = self.path / "trajectory.npz"
        self.uncontrolled = self.path / "uncontrolled.npz"

    def exists(self) -> bool:
        """True where a run was started here."""
        return self.config.exists() or self.metrics.exists() or self.last.exists()

    def check_free(self) -> None:
        """Raise :class:`RunError` where a run was started here, or in folders inside."""
        if inside := sorted(file.parent.name for file in self.path.glob("*/config.yaml")):
            raise RunError(
                f"{self.path} holds runs of its own ({', '.join(inside[:3])}): name one of them, "
                "or another folder"
            )
        if self.exists():
            raise RunError(
                f"{self.path} already holds a run: continue it with --resume, replace it with "
                "--overwrite, or name another folder"
            )

    def lock(self) -> files.FolderLock:
        """Hold the folder, which is made where it is missing, against other writers.

        Raises RunError: another process trains into it; WriteError: it cannot be written.
        """
        with self._unoccupied():
            return files.FolderLock(self.path)

    def check_unlocked(self) -> None:
        """Raise :class:`RunError` where a process trains into the folder; changes nothing."""
        with self._unoccupied():
            files.check_unlocked(self.path)

    @contextmanager
    def _unoccupied(self) -> Iterator[None]:
        try:
            yield
        except files.LockedError as error:
            raise RunError(
                f"{self.path}: another run writes there: {error}; let it end, stop it, or name "
                "another folder by --run"
            ) from error

    def remove_leftovers(self) -> None:
        """Remove what killed writers left."""
        for folder in (self.path, self.last.parent):
            files.remove_leftovers(folder)

    def begin(self, config: Config, *, resume: bool, overwrite: bool) -> None:
        """Claim the folder for ``config``. Raises :class:`RunError` where a run is in it."""
        if not (resume or overwrite):
            self.check_free()
        if overwrite and not resume:
            self._clear()
        files.write_text(self.config, configuration.to_yaml(config))

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
            config = configuration.load_file(self.config)
        except ConfigError as error:
            raise RunError(
                f"{error}. Mend config.yaml, or train the run on with --resume and its settings, "
                "which writes it anew"
            ) from error
        copy = metrics.read_copy(self.copy)
        if copy is not None and copy.config != self.config.read_bytes():
            note(f"{self.config} was changed since the last checkpoint; it is taken as it is now")
        return config


class Recorder:
    """Appends metrics to a run folder, one line at a time, and to TensorBoard.

    Attributes:
        gap: episodes of the part that is continued whose records are lost, or None.
    """

    def __init__(self, folder: RunFolder, *, tensorboard: bool, after_episode: int = 0) -> None:
        """``after_episode``: later lines belong to a part of the run that is repeated: dropped."""
        self.folder = folder
        self.gap = continue_metrics(folder, after_episode)
        try:
            self._stream = folder.metrics.open("ab", buffering=0)
        except OSError as error:
            raise files.write_error(folder.metrics, error) from error
        self._writer: SummaryWriter | None = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder.tensorboard), purge_step=after_episode + 1)

    def write(self, kind: str, episode: int, step: int, seconds: float, **values: object) -> None:
        """Append one line; finite numbers also go to TensorBoard under ``kind/name``.

        Raises RunError: the file system refused, as on a full disk.
        """
        head = {"kind": kind, "episode": episode, "step": step, "seconds": round(seconds, 3)}
        line = memoryview((json.dumps(plain(head | values), allow_nan=False) + "\n").encode())
        try:
            while line:
                line = line[self._stream.write(line) :]
            self._draw(kind, episode, values)
        except OSError as error:
            raise self._refused(files.write_error(self.folder.metrics, error)) from error

    def _draw(self, kind: str, episode: int, values: Record) -> None:
        if self._writer is None:
            return
        for name, value in values.items():
            if isinstance(value, int | float) and math.isfinite(value):
                self._writer.add_scalar(f"{kind}/{name}", value, episode)

    def sync(self) -> None:
        """Make the records so far last, and keep a copy of them beside the checkpoints.

        Raises RunError: the file system refused, or the folder was removed or replaced meanwhile.
        """
        file = self.folder.metrics
        try:
            os.fsync(self._stream.fileno())
            if not os.path.samestat(os.fstat(self._stream.fileno()), file.stat()):
                raise FileNotFoundError
            records = Records(self.folder.config.read_bytes(), file.read_bytes())
            metrics.write_copy(self.folder.copy, records)
        except FileNotFoundError as error:
            raise RunError(
                f"{self.folder.path}: {file.name} or {self.folder.config.name} was removed or "
                "replaced while training went on, so that nothing more is written there; put the "
                "folder back and --resume, or train again with --overwrite"
            ) from error
        except files.WriteError as error:
            raise self._refused(error) from error
        except OSError as error:
            raise self._refused(files.write_error(file, error)) from error

    def _refused(self, error: files.WriteError) -> RunError:
        return RunError(f"{error}; {metrics.how_to_go_on(self.folder.last)}")

    def close(self) -> None:
        """Close the files."""
        self._stream.close()
        if self._writer is not None:
            self._writer.close()


def plain(value: Any) -> Json:
    """``value`` with NumPy types made Python's and non-finite numbers made None (for JSON)."""
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: str | Path, content: Record) -> None:
    """Write a JSON object atomically; non-finite numbers become null."""
    files.write_text(Path(path), json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


def read_metrics(path: str | Path) -> list[Metric]:
    """All lines of a run (folder or file); a last line that was cut while written is left out.

    A note reports lines that were changed since they were written.

    Raises :class:`RunError` where the file is missing or a line is damaged or no record.
    """
    path = Path(path)
    file = RunFolder(path).metrics if path.is_dir() else path
    if not file.is_file():
        raise RunError(f"{file}: no metrics there; name the folder of a run")
    copy = metrics.read_copy(RunFolder(file.parent).copy) if path.is_dir() else None
    content = file.read_bytes()  # after the copy, which must be a beginning of it
    if copy is not None and not content.startswith(copy.metrics):
        note(f"{file} was changed since it was written; it is taken as it is now")
    return [line.record for line in metrics.parse(content, file)]


def continue_metrics(folder: RunFolder, after_episode: int) -> Gap | None:
    """Keep the lines up to and including ``after_episode``, on which a checkpoint counts.

    Lost lines are restored from the copy beside the checkpoint; returns the gap that is not there
    either. Changed lines stay as they are. A note reports both.
    """
    file = folder.metrics
    written = metrics.parse(file.read_bytes() if file.is_file() else b"", file)
    copy = metrics.read_copy(folder.copy)
    copied = metrics.until(metrics.parse(copy.metrics, folder.copy) if copy else [], after_episode)
    lines = metrics.until(written, after_episode)
    lost = metrics.gap(lines, after_episode)
    if lost and copied and metrics.gap(copied, after_episode) is None:
        note(f"{file}: {_spell(lost, after_episode)}; they are restored from {folder.copy}")
        lines, lost = copied, None
    elif lost:
        note(f"{file}: {_spell(lost, after_episode)}; the gap is marked there")
    elif copied and metrics.joined(lines) != metrics.joined(copied):
        note(f"{file} was changed since the checkpoint; it is taken as it is now")
    text = metrics.joined(lines)
    if file.is_file() or text:
        if copy is not None:  # first the copy: it stays a beginning of the file
            config = folder.config.read_bytes() if folder.config.exists() else copy.config
            metrics.write_copy(folder.copy, Records(config, text))
        files.write_atomically(file, lambda stream: stream.write(text))
    return lost


def _spell(lost: Gap, after_episode: int) -> str:
    return (
        f"the records of {lost.missing} of the {after_episode} episodes before the checkpoint are "
        f"lost, from episode {lost.first} on"
    )


def write_trajectory(path: str | Path, trajectory: Record) -> None:
    """Write one episode, atomically; keys and shapes are those of :func:`read_trajectory`."""
    arrays: Row = {name: np.asarray(value) for name, value in trajectory.items()}
    files.write_arrays(Path(path), arrays, compress=True)


def stack_frames(frames: Sequence[Record]) -> Row:
    """F frames of ``env.record()`` as one trajectory: arrays stacked by key.

    Fields on the N points and the actions become (F, ...); what has no time in it is kept once:
    points, cells, positions, and everything else that never changes (the target, the arcs).
    """
    first = frames[0]
    stacked: Row = {"times": np.array([frame["time"] for frame in frames])}
    for name in first:
        values = [np.asarray(frame[name]) for frame in frames]
        moving = name in MOVING or any(not np.array_equal(v, values[0]) for v in values[1:])
        if name != "time":
            stacked[name] = np.stack(_alike(values)) if moving else values[0]
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


def read_trajectory(path: str | Path) -> Row:
    """One recorded episode of F frames from a file or run folder.

    Keys of all: kind (of the plant, empty where it was not recorded), points (N, gdim), cells
    (M, gdim+1), times (F,), positions (n, gdim), actions (F, n, m) and costs (F,) of the interval
    that ends at the frame (zero in the first), mu (n_mu,), scheme. Density: density (F, N), target
    (N,), velocity (F, N, gdim). Flow: velocity (F, N, 2), pressure and vorticity (F, N), and over
    the T time steps of the episode drag, lift and dissipation (T,), as far as the plant reports
    them. Shape: as flow, with outline (F, k, 2) and reference (k, 2); points and outline have no
    first axis where nothing moved, cells (F, M, 3) have one where a mesh was made anew.
    Raises :class:`RunError`.
    """
    path = Path(path)
    file = RunFolder(path).trajectory if path.is_dir() else path
    if not file.is_file():
        raise RunError(f"{file}: no trajectory there; record one with hypemarl render or simulate")
    try:
        arrays, sealed = files.read_arrays(file)
    except (files.DamagedError, OSError) as error:
        raise RunError(f"{file}: not a trajectory that loads ({error}); record it again") from error
    content: Row = dict(arrays)
    if absent := sorted({"times", "points", "actions"} - content.keys()):
        raise RunError(
            f"{file}: not a trajectory: it lacks {', '.join(absent)}; record it again with "
            "hypemarl render --index or simulate --output"
        )
    if not sealed:
        note(f"{file}: written before records had checksums, so that damage is not noticed")
    content["scheme"] = str(content.get("scheme", ""))
    content["kind"] = str(content.get("kind", ""))
    return content
