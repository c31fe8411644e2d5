"""The open-loop optimum: the actions that minimise an episode's cost, by exact gradients.

Bounded quasi-Newton steps (L-BFGS-B: Byrd, Lu, Nocedal and Zhu, SIAM J. Sci. Comput. 16 (1995)
1190, in SciPy's implementation) until the projected gradient |P(a - dJ/da) - a|, P the projection
onto the bounds, has fallen to a share of its value at zero control. The problem is not convex: each
search ends in a local minimum, and the lowest one so far is stored.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from hypemarl import files
from hypemarl.config import SYSTEMS, EnvConfig, mesh_files, to_dict
from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.envs.array_env import ArrayEnv, plant_of
from hypemarl.mpi import note, on_root, raise_together
from hypemarl.optimal.trajectory import EpisodeAdjoint
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.types import Array, Json, Record, Row

TOLERANCE = 1e-4
MAX_EVALUATIONS = 400
SCREENING = 40
"""Evaluations after which one of several starts is chosen."""
UNSTOPPED = {"maxcor": 20, "ftol": 0.0, "gtol": 0.0}  # L-BFGS-B: the callback decides
REPEATABLE = 1e-6  # relative change of J at which stored actions are of another discretisation
NOT_PHYSICS = (
    "context",
    "observation_radius",
    "observe_target",
    "observe_flow",
    "divergence_limit",
)
"""Settings of an environment, with all that begin with ``reward``, that J does not depend on."""

type Costs = float | Sequence[float] | Array
Progress = Callable[[int, float, float], None]


@dataclass(frozen=True)
class Optimum:
    """A local minimum of J at ``parameters``.

    Attributes:
        actions: (steps, n, m); cost: J there; uncontrolled: J at zero control.
        reduction: norm of the projected gradient over that at zero control.
        evaluations: of J and dJ/da, in this search; seconds: their time.
        history: (evaluations, 2) J and that ratio in every evaluation of this search.
    """

    parameters: Array
    actions: Array
    cost: float
    uncontrolled: float
    reduction: float
    evaluations: int
    seconds: float
    history: Array

    def converged(self, tolerance: float) -> bool:
        """True where the projected gradient fell to ``tolerance`` of its value at zero control."""
        return self.reduction <= tolerance


class OpenLoop:
    """Search for optima of an environment, which are stored on disk.

    Args:
        env: whose plant has an adjoint; folder: of stored optima, by default ``optima`` in the
            cache folder (:func:`hypemarl.files.cache_folder`).

    Temporary files of killed writers are removed. Collective, as is every method.
    """

    def __init__(self, env: ArrayEnv, folder: Path | None = None) -> None:
        self.env, self.plant, self.comm = env, plant_of(env), env.comm
        self.folder = folder or files.cache_folder(note) / "optima"
        on_root(self.comm, lambda: files.remove_leftovers(self.folder) and None)
        self.shape = (env.control_steps, env.n_agents, env.action_size)

    @staticmethod
    def serves(env: ArrayEnv) -> bool:
        """True where optima of ``env`` can be computed: its plant has an adjoint."""
        return env.plant is not None and not env.plant.adjoint_fault

    @cached_property
    def episode(self) -> EpisodeAdjoint:
        """Gradients of whole episodes; the adjoint is built at first use."""
        return EpisodeAdjoint(require_adjoint(self.plant))

    @cached_property
    def _mesh_content(self) -> str | None:
        return mesh_files.content(self.env.config)

    def solve(
        self,
        parameters: Array,
        *,
        tolerance: float = TOLERANCE,
        max_evaluations: int = MAX_EVALUATIONS,
        starts: Sequence[Array] = (),
        progress: Progress | None = None,
    ) -> Optimum:
        """The optimum at ``parameters``, from disk where it is known well enough.

        ``starts``: action sequences (steps, n, m) to search from; of several, each is followed for
        :data:`SCREENING` evaluations, and the best one to the end. Where there is none the search
        goes on from what is stored, or begins at zero control. ``progress(evaluation, cost,
        reduction)`` is called on every rank. The result may not have converged: see
        :meth:`Optimum.converged`.

        Raises:
            SolverDiverged: on every rank, when zero control already leaves the trusted range.
            OSError: on every rank, before the search, when its result could not be stored.
        """
        known = self.load(parameters)
        if known is not None and known.converged(tolerance) and not starts:
            return known
        on_root(self.comm, lambda: files.check_writable(self.folder, files.CACHE_REMEDY))
        zero = np.zeros(self.shape)
        reference = _Search(self, parameters, 1.0, progress)
        uncontrolled, slope = reference.evaluate(zero)
        scale = float(np.linalg.norm(self._projected(zero, slope)))

        def search(start: Array, evaluations: int) -> Optimum:
            descent = _Search(self, parameters, scale, progress, uncontrolled)
            return descent.run(np.clip(start, *self._bounds), tolerance, evaluations)

        start = next(iter(starts), zero if known is None else known.actions)
        if len(starts) > 1:
            screened = [search(each, min(SCREENING, max_evaluations)) for each in starts]
            start = min(screened, key=lambda result: result.cost).actions
        best = search(start, max_evaluations)
        if known is not None and known.cost < best.cost:
            best = known
        self._save(best)
        return best

    def load(self, parameters: Array) -> Optimum | None:
        """The stored optimum, None where there is none or the discretisation has changed since."""
        stored = on_root(self.comm, lambda: _read(self.path(parameters)))
        if stored is None:
            return None
        try:
            cost = self.episode.cost(parameters, stored.actions)
        except SolverDiverged:
            return None
        same = abs(cost - stored.cost) <= REPEATABLE * abs(stored.cost)
        return stored if self.comm.bcast(same, root=0) else None

    def path(self, parameters: Array) -> Path:
        """The file of the optimum at ``parameters``. Local."""
        facts: Row = {"parameters": [float(value) for value in parameters]}
        digest = problem_digest(self.env.config, self._mesh_content, NOT_PHYSICS, **facts)
        return self.folder / f"optimum-{digest}.npz"

    def _save(self, optimum: Optimum) -> None:
        with raise_together(self.comm):
            if self.comm.rank == 0:
                path = self.path(optimum.parameters)
                files.write_arrays(path, vars(optimum), compress=True)

    @property
    def _bounds(self) -> tuple[Array, Array]:
        return self.plant.action_low, self.plant.action_high

    def _projected(self, actions: Array, slope: Array) -> Array:
        """P(a - dJ/da) - a."""
        return np.asarray(np.clip(actions - slope, *self._bounds) - actions)


@dataclass
class _Search:
    """One descent: evaluates, keeps the history, stops where the projected gradient is small."""

    owner: OpenLoop
    parameters: Array
    scale: float
    progress: Progress | None
    uncontrolled: float = float("nan")
    history: list[tuple[float, float]] = field(default_factory=list)

    def evaluate(self, actions: Array) -> tuple[float, Array]:
        """J and dJ/da, the same on every rank."""
        comm, result = self.owner.comm, self.owner.episode.gradient(self.parameters, actions)
        pair = result.cost, result.gradient
        return comm.bcast(pair, root=0) if comm.size > 1 else pair

    def run(self, start: Array, tolerance: float, max_evaluations: int) -> Optimum:
        began, shape = time.monotonic(), start.shape
        bounds = [np.broadcast_to(bound, shape).ravel() for bound in self.owner._bounds]

        def objective(flat: Array) -> tuple[float, Array]:
            actions = flat.reshape(shape)
            try:
                cost, slope = self.evaluate(actions)
            except SolverDiverged:  # too bold a step: the line search takes a shorter one
                return 1e3 * abs(self.uncontrolled), np.zeros_like(flat)
            residual = np.linalg.norm(self.owner._projected(actions, slope))
            self.history.append((cost, float(residual / self.scale)))
            if self.progress is not None:
                self.progress(len(self.history), *self.history[-1])
            return cost, slope.ravel()

        def stop(intermediate_result: OptimizeResult) -> None:
            if self.history[-1][1] <= tolerance:
                raise StopIteration

        result = minimize(
            objective,
            start.ravel(),
            method="L-BFGS-B",
            jac=True,
            bounds=np.stack(bounds, axis=1),
            callback=stop,
            options=UNSTOPPED | {"maxfun": max_evaluations, "maxiter": max_evaluations},
        )
        return self._describe(result.x.reshape(shape), began)

    def _describe(self, actions: Array, began: float) -> Optimum:
        cost, slope = self.evaluate(actions)
        residual = np.linalg.norm(self.owner._projected(actions, slope))
        parameters, seconds = np.array(self.parameters, np.float64), time.monotonic() - began
        costs = (cost, self.uncontrolled, float(residual / self.scale))
        history = np.array(self.history).reshape(-1, 2)
        return Optimum(parameters, actions, *costs, len(self.history), seconds, history)


def problem_digest(
    config: EnvConfig, mesh: str | None, ignored: Sequence[str] = (), **facts: Json
) -> str:
    """32 hex digits that name files of a problem, which rewards do not change. Local.

    Args:
        config: of the environment. mesh: digest of its mesh files' content, where it has some.
        ignored: settings without influence. facts: further ones that have influence.
    """
    usual = to_dict(EnvConfig(system=config.system))
    env = {
        name: value
        for name, value in differing(to_dict(config), usual).items()
        if name not in ignored and not name.startswith("reward")
    }
    options = {k: v for k, v in env.pop(config.system, {}).items() if k not in ignored}
    env |= {"system": config.system, "options": options}
    if mesh is not None:  # whatever the files are called
        kept = {k: v for k, v in env.get("mesh", {}).items() if k not in mesh_files.NAMES}
        env["mesh"] = kept | {"files_sha256": mesh}
    if code := SYSTEMS.get(config.system).code(config):
        env["code"] = code
    return files.short_digest(files.facts_key({"env": env, **facts}))


def differing(settings: Record, defaults: Record) -> Row:
    """The settings that are not the defaults, nested as they are.

    Files named by them keep their names when a version adds settings.
    """
    result = {}
    for name, value in settings.items():
        default = defaults.get(name)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            value, default = differing(value, default), {}
        if value != default:
            result[name] = value
    return result


def _read(path: Path) -> Optimum | None:
    if not path.is_file():
        return None
    try:
        stored, sealed = files.read_arrays(path)
        values: Row = {
            item.name: stored[item.name] if stored[item.name].ndim else stored[item.name].item()
            for item in dataclasses.fields(Optimum)
        }
    except (files.DamagedError, OSError, KeyError) as error:
        note(f"{path}: not a stored optimum that is whole ({error}); it counts as unknown")
        return None
    if not sealed:
        note(f"{path.parent}: optima from before checksums, trusted where they cost what they say")
    return Optimum(**values)


def replay(actions: Array) -> Callable[[Array, Array], Array]:
    """A policy that ignores observations and plays ``actions`` (steps, n, m), one per call."""
    following = iter(actions)
    return lambda observations, mu: next(following)


def recovered_share(cost: Costs, uncontrolled: Costs, best: Costs) -> float:
    """(J0 - J) / (J0 - J*) of mean costs: 0 without control, 1 for the optimum.

    Raises:
        ValueError: the optimum is not below J0, so that there is nothing to recover.
    """
    gain = float(np.mean(uncontrolled) - np.mean(best))
    if not gain > 0:
        raise ValueError(
            f"recovered share: expected an optimum below the uncontrolled cost, got "
            f"{np.mean(best):g} and {np.mean(uncontrolled):g}"
        )
    return float(np.mean(uncontrolled) - np.mean(cost)) / gain
