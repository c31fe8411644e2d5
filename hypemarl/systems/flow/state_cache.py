"""Flow states on disk, whatever the number of ranks that wrote them or read them.

A file is a sealed .npz (:mod:`hypemarl.files`) with the state's nodal arrays in the order of the
nodes' coordinates, those coordinates and the facts that the state belongs to (JSON). Its name is
the hash of the facts, and the facts are compared again on reading.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from hypemarl import files
from hypemarl.mpi import note, on_root, raise_together
from hypemarl.solvers.navier_stokes import FlowState, UnsteadyFlow
from hypemarl.types import Row

SAME_PLACE = 1e-9  # largest distance of a stored node from the mesh's, in units of the domain


class CacheError(RuntimeError):
    """A stored state belongs to something else. Raised on every rank."""


class StateCache:
    """Load and save states of one flow solver.

    Args:
        solver: of the flow; facts: JSON-able names and values that every state of this flow
            depends on; folder: where files lie (default: :func:`hypemarl.files.cache_folder`).

    What killed writers left there is removed.
    """

    def __init__(self, solver: UnsteadyFlow, facts: Row, folder: Path | None = None) -> None:
        self.solver, self.space, self.comm = solver, solver.space, solver.comm
        self.facts = facts
        self.folder = folder or files.cache_folder(note)
        on_root(self.comm, lambda: files.remove_leftovers(self.folder) and None)

    def path(self, parameters: np.ndarray) -> Path:
        """The file of the state at ``parameters``. Local."""
        return self.folder / f"flow-{files.short_digest(self._key(parameters))}.npz"

    def load(self, parameters: np.ndarray) -> FlowState | None:
        """The stored state, None where there is none that is whole. Collective.

        A damaged file is reported by a note and counts as none.
        Raises CacheError: on every rank, when the file was made for something else.
        """
        path, key = self.path(parameters), self._key(parameters)
        stored = on_root(self.comm, lambda: _read(path, key) if path.is_file() else None)
        return None if stored is None else self._distribute(stored, path)

    def save(self, parameters: np.ndarray, state: FlowState) -> Path:
        """Write a state for good. Collective.

        Raises OSError: on every rank, when the folder cannot be written.
        """
        path, key = self.path(parameters), self._key(parameters)
        arrays = self._gather(state)
        with raise_together(self.comm):
            if arrays is not None:
                files.write_arrays(path, {"key": np.array(key), **arrays})
        return path

    def check_writable(self) -> None:
        """Raise OSError on every rank where :meth:`save` could not write. Collective."""
        on_root(self.comm, lambda: files.check_writable(self.folder, files.CACHE_REMEDY))

    def _key(self, parameters: np.ndarray) -> str:
        parts = [float(value) for value in parameters]
        return files.facts_key({**self.facts, "parameters": parts})

    def _gather(self, state: FlowState) -> dict[str, np.ndarray] | None:
        """All nodes' values on rank 0, ordered by coordinates; None elsewhere. Collective."""
        space = self.space
        counts = {"velocity": space.n_velocity, "pressure": space.n_pressure}
        local = {name: value[: counts[_KIND[value.ndim]]] for name, value in _arrays(state).items()}
        local["velocity_points"] = space.velocity_points[: space.n_velocity]
        local["pressure_points"] = space.pressure_points[: space.n_pressure]
        parts = self.comm.gather(local, root=0)
        if parts is None:
            return None
        whole = {name: np.concatenate([part[name] for part in parts]) for name in local}
        scale = SAME_PLACE * float(np.ptp(whole["pressure_points"]))
        for kind in counts:
            rows = whole[f"{kind}_points"]
            order = np.lexsort((rows / scale).round().T[::-1])
            for name, value in _arrays(state).items():
                if _KIND[value.ndim] == kind:
                    whole[name] = whole[name][order]
            whole[f"{kind}_points"] = rows[order]
        numbers = {name: np.array(v) for name, v in vars(state).items() if not np.ndim(v)}
        return whole | numbers

    def _distribute(self, stored: dict[str, np.ndarray], path: Path) -> FlowState:
        """This rank's part of a stored state, ghosts included. Collective."""
        space = self.space
        with raise_together(self.comm):
            velocity_points = space.velocity_points[: space.n_velocity]
            rows = _match(stored["velocity_points"], velocity_points, path)
            pressure_rows = _match(stored["pressure_points"], space.pressure_points, path)
        values: Row = {}
        for field in dataclasses.fields(FlowState):
            array = stored[field.name]
            if array.ndim == 0:
                values[field.name] = array.item()
            elif _KIND[array.ndim] == "pressure":
                values[field.name] = array[pressure_rows]
            else:
                vector = self.solver.momentum.vector()  # its ghosts are those of the solver
                nodal = vector.array.reshape(-1, 2)
                nodal[: len(rows)] = array[rows]
                vector.scatter_forward()
                values[field.name] = nodal.copy()
        return FlowState(**values)


_KIND = {2: "velocity", 1: "pressure"}
"""Kind of a state's array, by its number of axes."""


def _arrays(state: FlowState) -> dict[str, np.ndarray]:
    return {name: value for name, value in vars(state).items() if np.ndim(value)}


def _match(stored: np.ndarray, points: np.ndarray, path: Path) -> np.ndarray:
    """Row of ``stored`` for each of ``points``."""
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    distance, index = cKDTree(stored).query(points)
    if not distance.max() <= SAME_PLACE * float(np.ptp(stored)):
        raise CacheError(_refusal(path, "its nodes are not those of this mesh"))
    return index


def _refusal(path: Path, reason: str) -> str:
    return f"{path}: stored flow state not used: {reason}; delete the file to compute it again"


def _read(path: Path, key: str) -> dict[str, np.ndarray] | None:
    try:
        stored, sealed = files.read_arrays(path)
    except (files.DamagedError, OSError) as error:
        note(f"{error}; the flow is computed again")
        return None
    stored_key = str(stored.pop("key", ""))
    if stored_key != key:
        raise CacheError(_refusal(path, _difference(stored_key, key)))
    if not sealed or {field.name for field in dataclasses.fields(FlowState)} - stored.keys():
        note(f"{path}: a stored flow without a checksum, from before there were; computed again")
        return None
    return stored


def _difference(stored_key: str, key: str) -> str:
    """Reason of a refusal: the facts in which a file differs from the expected ones."""
    try:
        stored = dict(json.loads(stored_key))
    except (ValueError, TypeError):
        return "it does not say what it belongs to"
    expected = json.loads(key)
    names = sorted(n for n in stored.keys() | expected.keys() if stored.get(n) != expected.get(n))
    return f"it belongs to another {', '.join(names)}"
