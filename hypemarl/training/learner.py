"""Algorithms: the contract of one.

An :class:`Algorithm` says how a run learns and how its runs are read again. Those of the package
are the folders of :mod:`hypemarl.algorithms`, each of which names its own in ``ALGORITHMS``; a
user's algorithm comes by :func:`register_algorithm` or from an installed package with an entry
point in the group ``hypemarl.algorithms``. Importing this module imports no algorithm, and looking
one up imports neither torch nor dolfinx.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hypemarl.config import ALGORITHMS, Config
from hypemarl.config.errors import UnsupportedError
from hypemarl.config.registry import AlgorithmSettings
from hypemarl.coupling.adjoint import no_adjoint
from hypemarl.coupling.local_model import require_local_model

if TYPE_CHECKING:
    import numpy as np

    from hypemarl.agents.policy import Actor, Probe
    from hypemarl.agents.replay import Batch
    from hypemarl.coupling.spec import AgentSpec
    from hypemarl.envs.array_env import ArrayEnv
    from hypemarl.training.episodes import Policy
    from hypemarl.training.groups import Groups
    from hypemarl.training.progress import Losses, Progress, Result
    from hypemarl.types import Array, Row


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

    def load_state_dict(self, state: Row) -> None:
        """Take up the entry ``agent`` of a checkpoint. Raises RuntimeError where it is unfit."""


class Learner:
    """Base of all learners: collects episodes. Made on every rank; rank 0 alone learns.

    A subclass that defines :meth:`start` and :meth:`collect` is complete. ``agent`` exists on the
    first rank of every group after :meth:`start`: it acts, and on rank 0 it holds everything that
    is learned.
    """

    def __init__(self, config: Config, env: ArrayEnv, groups: Groups) -> None:
        self.config, self.env, self.groups = config, env, groups
        self.agent: Any

    def start(self) -> None:
        """Build networks where they are needed. Local."""
        raise NotImplementedError

    def collect(
        self, parameters: Sequence[Array], progress: Progress
    ) -> tuple[list[Result], Losses]:
        """Run an episode in group g at ``parameters[g]`` and learn from it. Collective.

        Counts updates in ``progress`` of rank 0. Returns results and mean losses on rank 0, none
        elsewhere. Raises TrainingError on every rank.
        """
        raise NotImplementedError

    def share(self) -> None:
        """Give rank 0's averaged actor to the first ranks of all groups. Collective."""
        groups = self.groups
        if groups.count == 1:
            return
        state = None
        if groups.root:
            state = {k: v.cpu() for k, v in self.agent.actor_average.state_dict().items()}
        state = groups.comm.bcast(state, root=0)
        if groups.leads and not groups.root:
            self.agent.actor_average.load_state_dict(state)

    def has_policy(self, episode: int) -> bool:
        """True where there is a policy to validate after ``episode`` episodes; here always."""
        return True

    def probe(self) -> Probe | None:
        """Diagnostics' view of the latest episodes, None where none were kept. On rank 0.

        Changes nothing, and depends on nothing that a resumed run would lack.
        """
        return None

    def state_dict(self, *, whole: bool) -> Row:
        """State for a checkpoint: ``agent``, and if ``whole`` all that training goes on from."""
        return {"agent": self.agent.state_dict()}

    def load_state_dict(self, stored: Row) -> None:
        """Take up a checkpoint with a whole state. On rank 0."""
        self.agent.load_state_dict(stored["agent"])


type ProbeEpisodes = Callable[[ArrayEnv, Config, Policy, Any, Array], tuple[Probe | None, float]]
"""(env, config, policy, agent, parameters) -> diagnostics' view on rank 0, and the mean cost."""


@dataclass(frozen=True, kw_only=True)
class Algorithm(AlgorithmSettings):
    """One algorithm, chosen by ``training.algorithm``. Its functions import what they need."""

    make: Callable[[Config, ArrayEnv, Groups], Learner]
    """(config, env, groups) -> learner. Collective"""
    make_agent: Callable[[AgentSpec, Config], Agent]
    """(spec, config) -> the agent whose state its checkpoints hold, on the CPU, for evaluation.
    Local"""
    title: str = ""
    """a few words for legends"""
    label: Callable[[Config], str] | None = None
    """name of a run in tables, beside the scheme; None: the algorithm's name"""
    builds_on: tuple[str, ...] = ()
    """other algorithms whose options it reads as well"""
    ignores: frozenset[str] = frozenset()
    """common settings that it does not read, so that a resumed run may change them"""
    probe: ProbeEpisodes | None = None
    """how ``diagnose`` looks at a finished run; None: by :meth:`Agent.probe` on sampled episodes.
    Collective"""
    diagnose: Callable[..., dict[str, float]] | None = None
    """(run_dir, episodes=, comm=, make_env=) -> further entries of ``diagnose``. Collective"""

    def reads(self, key: str) -> bool:
        """True where a setting such as ``agent.gamma`` affects how training continues."""
        part, _, rest = key.partition(".")
        section = rest.partition(".")[0]
        if part == "agent" and section in ALGORITHMS:
            return section in (self.name, *self.builds_on)
        return key not in self.ignores


def register_algorithm(algorithm: Algorithm) -> Algorithm:
    """Make an algorithm known as ``training.algorithm=<name>``; returns it. Local: on every rank.

    Raises ConfigError: another one has this name.
    """
    ALGORITHMS.register(algorithm)
    return algorithm


def algorithm_of(config: Config | str) -> Algorithm:
    """The algorithm of a configuration, or of this name. Local.

    Raises ConfigError: it is unknown; names the known ones.
    """
    algorithm = ALGORITHMS.get(config if isinstance(config, str) else config.training.algorithm)
    assert isinstance(algorithm, Algorithm)
    return algorithm


def make_learner(config: Config, env: ArrayEnv, groups: Groups) -> Learner:
    """The learner of a configuration, whose plant has what its algorithm needs. Collective.

    Raises UnsupportedError: the plant lacks its adjoint or its local model; says why.
    """
    algorithm, plant = algorithm_of(config), env.plant
    if "adjoint" in algorithm.needs and plant is not None and plant.adjoint_fault:
        raise UnsupportedError(no_adjoint(plant))
    if "local_model" in algorithm.needs and plant is not None:
        require_local_model(plant)
    return algorithm.make(config, env, groups)


def label(config: Config) -> str:
    """Name of a run's algorithm in tables, beside the scheme."""
    algorithm = algorithm_of(config)
    return algorithm.name if algorithm.label is None else algorithm.label(config)
