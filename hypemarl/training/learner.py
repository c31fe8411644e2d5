"""Algorithms: the contract of one, and the registry that alone knows their names.

An :class:`Algorithm` says how a run learns and how its runs are read again. Those of the package
are the folders of :mod:`hypemarl.algorithms`, each of which names its own in ``ALGORITHMS``; a
user's algorithm comes by :func:`register_algorithm` or from an installed package with an entry
point in the group ``hypemarl.algorithms``. Importing this module imports no algorithm, and looking
one up imports neither torch nor dolfinx.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

from hypemarl.config import Config, ConfigError
from hypemarl.config import check_training as check_settings
from hypemarl.config.errors import nearest

if TYPE_CHECKING:
    import numpy as np

    from hypemarl.agents.policy import Actor
    from hypemarl.agents.probe import Probe
    from hypemarl.agents.replay import Batch
    from hypemarl.agents.spec import AgentSpec
    from hypemarl.training.evaluation import Array, Policy
    from hypemarl.training.groups import Groups
    from hypemarl.training.progress import Losses, Progress, Result

GROUP = "hypemarl.algorithms"
"""Entry points of installed packages: ``name = "module:ALGORITHM"``."""


class Agent(Protocol):
    """Policies of all agents, as evaluation and diagnostics use them.

    :class:`hypemarl.agents.policy.PolicyAgent` is one, and what most algorithms build on.
    """

    @property
    def actor(self) -> Actor:
        """The policies that learn."""

    @property
    def actor_average(self) -> Actor:
        """Their running average, which is evaluated and shipped."""

    def act(self, observations: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """Deterministic actions (n, m) at observations (n, k) and mu (n_mu,)."""

    def probe(self, sample: Batch) -> Probe:
        """Diagnostics' view of the agents on a batch of whole episodes."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the entry ``agent`` of a checkpoint. Raises RuntimeError where it is unfit."""


class Learner(Protocol):
    """Collects episodes and learns from them. Made on every rank; rank 0 alone learns.

    ``agent`` is there on the first rank of every group, after :meth:`start`: it acts, and on
    rank 0 it holds everything that is learned.
    """

    agent: Any

    def start(self) -> None:
        """Build networks where they are needed. Local."""

    def collect(
        self, parameters: Sequence[Array], progress: Progress
    ) -> tuple[list[Result], Losses]:
        """Run an episode in group g at ``parameters[g]`` and learn from it. Collective.

        Counts updates in ``progress`` of rank 0. Returns results and mean losses on rank 0, none
        elsewhere. Raises TrainingError on every rank.
        """

    def share(self) -> None:
        """Give rank 0's averaged actor to the first ranks of all groups. Collective."""

    def has_policy(self, episode: int) -> bool:
        """Whether there is a policy to validate after this number of episodes."""

    def probe(self) -> Probe | None:
        """Diagnostics' view of the latest episodes, None where there are none. On rank 0.

        Changes nothing, and depends on nothing that a resumed run would lack.
        """

    def state_dict(self, *, whole: bool) -> dict[str, Any]:
        """State for a checkpoint: ``agent``, and if ``whole`` all that training goes on from."""

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Take up a checkpoint with a whole state. On rank 0."""


ProbeEpisodes = Callable[
    [Any, Config, "Policy", Any, "Array"],
    "tuple[Probe | None, float]",
]
"""(env, config, policy, agent, parameters) -> diagnostics' view on rank 0, and the mean cost."""


@dataclass(frozen=True)
class Algorithm:
    """One algorithm, chosen by ``training.method``. Its functions import what they need."""

    name: str
    """the value of ``training.method``"""
    make: Callable[[Config, Any, Groups], Learner]
    """(config, env, groups) -> learner. Collective; raises TypeError where the plant lacks what
    the algorithm needs"""
    make_agent: Callable[[AgentSpec, Config], Agent]
    """(spec, config) -> the agent whose state its checkpoints hold, on the CPU, for evaluation.
    Local"""
    options: type | None = None
    """dataclass of its options, ``agent.<name>.*``; None where it has none"""
    needs: frozenset[str] = frozenset()
    """"adjoint" or "local_model" of the plant"""
    title: str = ""
    """a few words for legends"""
    label: Callable[[Config], str] | None = None
    """name of a run in tables, beside the scheme; None: the algorithm's name"""
    ignores: tuple[str, ...] = ()
    """patterns of settings that it does not read, so that a resumed run may change them"""
    check: Callable[[Config], None] = lambda config: None
    """raises ConfigError for settings that it cannot train with. Local"""
    probe: ProbeEpisodes | None = None
    """how ``diagnose`` looks at a finished run; None: by :meth:`Agent.probe` on sampled episodes.
    Collective"""
    diagnose: Callable[..., dict[str, float]] | None = None
    """(run_dir, episodes=, comm=, make_env=) -> further entries of ``diagnose``. Collective"""

    def label_of(self, config: Config) -> str:
        """Name of a run in tables, beside the scheme."""
        return self.name if self.label is None else self.label(config)

    def reads(self, key: str) -> bool:
        """Whether a setting such as ``agent.gamma`` decides how training goes on."""
        return not any(fnmatchcase(key, pattern) for pattern in self.ignores)


_REGISTERED: dict[str, Algorithm] = {}


def register_algorithm(algorithm: Algorithm) -> Algorithm:
    """Make an algorithm known as ``training.method=<name>``; returns it. Local: on every rank.

    Raises:
        ValueError: another one has this name.
    """
    known = _builtin() | _REGISTERED
    if known.get(algorithm.name, algorithm) is not algorithm:
        raise ValueError(f"an algorithm {algorithm.name!r} is registered already: rename this one")
    _REGISTERED[algorithm.name] = algorithm
    return algorithm


def algorithm_names() -> list[str]:
    """Names of all algorithms: the package's, the registered ones, those of entry points."""
    return list(dict.fromkeys([*_builtin(), *_REGISTERED, *_installed()]))


def algorithm_of(config: Config | str) -> Algorithm:
    """The algorithm of a configuration, or of this name. Local.

    Raises:
        ConfigError: it is unknown; names the known ones.
    """
    name = config if isinstance(config, str) else config.training.method
    found = (_builtin() | _REGISTERED).get(name)
    if found is None and name in _installed():
        found = _installed()[name].load()
    if not isinstance(found, Algorithm):
        names = algorithm_names()
        raise ConfigError(
            f"training.method: no algorithm {name!r}{nearest(name, names, '.')} "
            f"Known: {', '.join(names)}",
            "training.method",
        )
    return found


def check_training(config: Config) -> None:
    """Settings that nothing can be trained with, whatever or just this algorithm. Local.

    Raises:
        ConfigError: names them, and what to set instead.
    """
    check_settings(config)
    algorithm_of(config).check(config)


def label(config: Config) -> str:
    """Name of a run's algorithm in tables, beside the scheme."""
    return algorithm_of(config).label_of(config)


@functools.cache
def _builtin() -> dict[str, Algorithm]:
    """Those of the package, of every folder there."""
    package = importlib.import_module(GROUP)
    folders = [m.name for m in pkgutil.iter_modules(package.__path__, f"{GROUP}.") if m.ispkg]
    found = [a for name in folders for a in importlib.import_module(name).ALGORITHMS]
    return {algorithm.name: algorithm for algorithm in found}


@functools.cache
def _installed() -> dict[str, Any]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
