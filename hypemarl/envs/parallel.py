"""A plant as a PettingZoo environment, and the same environment as plain arrays for training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from gymnasium.spaces import Box
from mpi4py import MPI
from pettingzoo import ParallelEnv

from hypemarl import mpi
from hypemarl.config import EnvConfig, load, mesh_files
from hypemarl.coupling.neighbourhood import Neighbourhood
from hypemarl.coupling.plant import Plant
from hypemarl.envs.array_env import ArrayEnv, Episode, EpisodeError, Step
from hypemarl.envs.dictionaries import Infos, reset_parameters, stacked_actions
from hypemarl.seeding import fresh_seed, numpy_generator
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.systems.registry import system_of
from hypemarl.types import Record, Row

Remake = Callable[[EnvConfig, MPI.Intracomm], ArrayEnv]


@dataclass(frozen=True)
class Instant:
    """An instant of an episode, see :meth:`PDEEnv.snapshot`: of the plant, and where it stands."""

    plant: Any
    count: int
    mu: np.ndarray
    ended: str
    failure: str | None


class PDEEnv(ParallelEnv, ArrayEnv):
    """Agents on a controlled PDE. Every rank of the plant's communicator makes every call.

    ``reset``/``step`` speak PettingZoo's dictionaries; ``reset_arrays``/``step_arrays`` the same
    with arrays of shape (n_agents, ...). The horizon truncates an episode; a diverged solver or a
    cost per interval above ``divergence_limit`` terminates it with ``info["failure"]`` saying why,
    and such a step must not be learned from: its observations are the last good ones.

    Copies, by pickle too, are made anew from the configuration: they have no running episode and
    independent seeds. :meth:`snapshot` keeps an episode.

    Args:
        plant: the controlled system. config: its settings.
        remake: makes the environment of a configuration on a communicator, for copies.

    Attributes:
        agents: those that act next, all or, where no episode is running, none.
        failure: why the last episode failed, None where it did not.
    """

    plant: Plant

    def __init__(self, plant: Plant, config: EnvConfig, remake: Remake | None = None) -> None:
        self.plant = plant
        self.config = config
        self._remake = remake
        self.metadata = {"name": f"{config.system}_v0", "render_modes": []}
        self.render_mode = None
        self.comm = plant.comm
        self.n_agents = plant.n_agents
        self.observation_size, self.action_size = plant.observation_size, plant.action_size
        self.action_low, self.action_high = plant.action_low, plant.action_high
        self.positions, self.spacing, self.grid = plant.positions, plant.spacing, plant.grid
        self.own_features = plant.own_features
        self.parameter_low, self.parameter_high = plant.parameter_low, plant.parameter_high
        self.control_steps = config.control_steps
        self._context = plant.context_columns(config.context)
        self.mu_low = plant.parameter_low[self._context]
        self.mu_high = plant.parameter_high[self._context]
        self._near = Neighbourhood(plant.stencil(config.reward_radius))
        self._generator: np.random.Generator | None = None  # on rank 0, once something is drawn
        self._count = 0
        self._mu = np.zeros(len(self._context))
        self._observations = np.zeros((plant.n_agents, plant.observation_size))
        self.possible_agents = [f"agent_{i}" for i in range(plant.n_agents)]
        self.agents: list[str] = []
        self.failure: str | None = None
        self._ended = "none was started"  # why no episode is running; empty while one is
        self._infos = Infos(self.possible_agents, plant)
        self.observation_spaces = self._boxes(
            np.broadcast_to(plant.observation_low, plant.observation_size),
            np.broadcast_to(plant.observation_high, plant.observation_size),
        )
        self.action_spaces = self._boxes(plant.action_low, plant.action_high)

    def stencil(self, radius: int) -> np.ndarray:
        """Near agents (n, K), -1 where there is none; column K // 2 is the agent itself."""
        return self.plant.stencil(radius)

    def sample_parameters(self, generator: np.random.Generator) -> np.ndarray:
        """Parameters of a training episode (n_parameters,), see Plant.sample_parameters. Local."""
        return self.plant.sample_parameters(generator)

    def reset_arrays(self, parameters: np.ndarray) -> Episode:
        """Start an episode at ``parameters`` (n_parameters,), which may lie outside the box.

        Where the plant has no state to start from, the episode says so (``failure``). Collective.

        Raises:
            ValueError: on every rank, for a wrong number of parameters or NaN.
        """
        self._count, self.failure = 0, None
        try:
            self._observations = self.plant.reset(parameters)
        except SolverDiverged as error:
            return self._not_started(f"no state to start from: {error}")
        self._mu = np.asarray(parameters, dtype=np.float64)[self._context]
        self._run("")
        return Episode(self._observations.copy(), self._mu.copy(), self.plant.targets.copy())

    def step_arrays(self, actions: np.ndarray) -> Step:
        """One control interval under ``actions`` (n, m); rank 0's win. Collective.

        Raises:
            ActionError: on every rank, for a wrong shape or NaN.
            EpisodeError: no episode is running.
        """
        if self._ended:
            raise EpisodeError(f"step: no episode is running ({self._ended}); call reset first")
        try:
            observations, rewards, plant_info = self.plant.step(actions)
        except SolverDiverged as error:
            return self._failed(str(error))
        costs = plant_info["costs"]
        if not costs.total <= self.config.divergence_limit:
            limit = self.config.divergence_limit
            return self._failed(f"cost of the interval {costs.total:g} above the limit {limit:g}")
        self._count += 1
        self._observations = observations
        info = {"cost": costs.total, "local_costs": costs.shares, **plant_info}
        info["costs"] = costs.terms
        truncated = self._count >= self.control_steps
        if truncated:
            self._run(f"the last one ended after its {self.control_steps} control steps")
        return Step(observations.copy(), self.shape_rewards(rewards), False, truncated, info)

    def snapshot(self) -> Instant:
        """The episode's whole state, also of one that has ended. Local."""
        return Instant(self.plant.snapshot(), self._count, self._mu, self._ended, self.failure)

    def restore(self, state: Instant) -> np.ndarray:
        """Return to a snapshot; returns its observations (n, k). Collective."""
        self._count, self._mu, self.failure = state.count, state.mu, state.failure
        self._observations = self.plant.restore(state.plant)
        self._run(state.ended)
        return self._observations.copy()

    def baseline_actions(self, share: float) -> np.ndarray:
        """Constant actions (n, m) to compare with, see :meth:`Plant.baseline_actions`. Local."""
        return self.plant.baseline_actions(share)

    def record(self) -> Row | None:
        """Fields for pictures on rank 0 (Plant.fields, kind, positions and time). Collective."""
        fields = self.plant.fields()
        if fields is None:
            return None
        still = {"kind": self.plant.kind, "positions": self.positions}
        return {**fields, **still, "time": self.plant.time}

    def observation_space(self, agent: str) -> Box:
        """Box of shape (observation_size,), with the bounds that the plant knows of."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Box:
        """Box of shape (action_size,) between the amplitude bounds."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: Row | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Row]]:
        """Start an episode; ``options={"parameters": array}`` fixes them, else they are drawn.

        ``seed`` decides all draws from here on. Without one they follow the last seed or, where
        none was ever named, come from the operating system's entropy: no two environments then
        have the same episodes. Rank 0's arguments win.

        Returns observations and infos by agent. Infos have the same keys, types and shapes here
        and in every step: ``mu`` (n_mu,), ``position`` (gdim,), ``cost`` of the interval, the
        agent's ``local_cost``, ``cost_<term>``, measurements of the plant (``drag``, ...; see
        docs/environments.md) and ``failed``; zeros where nothing was measured yet. Collective.

        Raises:
            ValueError: on every rank, for unknown options, parameters outside the box, or a
                negative seed.
            SolverDiverged: on every rank: the plant has no state to start from.
        """
        parameters = mpi.on_root(self.comm, lambda: self._chosen(seed, options))
        episode = self.reset_arrays(parameters)
        if episode.failure is not None:
            raise SolverDiverged(f"reset at parameters {parameters.tolist()}: {episode.failure}")
        infos = self._infos.at_rest(episode.mu)
        return dict(zip(self.agents, episode.observations, strict=True)), infos

    def step(self, actions: Mapping[str, np.ndarray]) -> tuple[dict, dict, dict, dict, dict]:
        """PettingZoo's step; every agent in ``agents`` must act. Rank 0's actions win. Collective.

        Infos have the keys that :meth:`reset` names. Where an episode fails they are those of an
        episode's start but ``failed``, and :attr:`failure` says why.

        Raises:
            ActionError: on every rank: an agent is missing, unknown, or its action has a wrong
                shape or NaN.
            EpisodeError: no episode is running.
        """
        names = self.possible_agents
        chosen = np.zeros((self.n_agents, self.action_size))
        with mpi.raise_together(self.comm):
            if self.comm.rank == 0 and self.agents:
                chosen = stacked_actions(actions, names, self.action_size)
        step = self.step_arrays(chosen)
        failed = step.failure is not None
        infos = self._infos.at_rest(self._mu) if failed else self._infos.of(self._mu, step.info)
        if failed:
            for info in infos.values():
                info["failed"] = True
        return (
            dict(zip(names, step.observations, strict=True)),
            dict(zip(names, step.rewards.tolist(), strict=True)),
            dict.fromkeys(names, step.terminated),
            dict.fromkeys(names, step.truncated),
            infos,
        )

    def render(self) -> None:
        """There are no live pictures.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "a PDEEnv draws nothing while it runs (its render_modes are empty): record() gives the "
            "fields of an instant as arrays, and `hypemarl render` draws a trained run"
        )

    def state(self) -> np.ndarray:
        """All agents' observations, flattened."""
        return self._observations.ravel().copy()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled as its configuration; made anew on one rank where it is loaded.

        Raises:
            TypeError: its ranks are several, or it was made from a plant rather than by ``make``.
        """
        if self.comm.size > 1:
            raise TypeError(
                f"an environment on {self.comm.size} ranks cannot be sent to one process; pickle "
                "env.config, and call hypemarl.envs.make(config, comm) there"
            )
        return _made_on_one_rank, (self._remaker(), mesh_files.located(self.config))

    def __deepcopy__(self, memo: dict[int, object]) -> ArrayEnv:
        """An environment of the same configuration on the same ranks. Collective."""
        return self._remaker()(self.config, self.comm)

    def _remaker(self) -> Remake:
        if self._remake is None:
            raise TypeError(
                "this PDEEnv was made from a plant, which cannot be copied; environments of "
                "hypemarl.envs.make(config) can"
            )
        return self._remake

    def _boxes(self, low: np.ndarray, high: np.ndarray) -> dict[str, Box]:
        return {agent: Box(low, high, dtype=np.float64) for agent in self.possible_agents}

    def _run(self, ended: str) -> None:
        """Let an episode run, or be over for the reason ``ended``."""
        self._ended = ended
        self.agents = [] if ended else list(self.possible_agents)

    def _chosen(self, seed: int | None, options: Record | None) -> np.ndarray:
        """Parameters of the next episode. Local, on rank 0."""
        plant, box = self.plant, (self.parameter_low, self.parameter_high)
        fixed = reset_parameters(options, plant.parameter_names, *box)
        if seed is not None or self._generator is None:
            root = fresh_seed() if seed is None else seed
            self._generator = numpy_generator(root, "environment")
        return self.sample_parameters(self._generator) if fixed is None else fixed

    def shape_rewards(self, local: np.ndarray) -> np.ndarray:
        """Rewards (n,) of the configured kind from minus the local costs (n,). Local."""
        if self.config.reward_baseline:
            local = local + self.plant.baseline
        kind, everyone = self.config.reward, np.full_like(local, local.mean())
        if kind == "own":
            return local
        if kind == "global":
            return everyone
        if kind == "mixed":
            return self.config.reward_mix * everyone + (1.0 - self.config.reward_mix) * local
        return np.nanmean(self._near.gather(local, absent=np.nan), axis=1)

    def _failed(self, reason: str) -> Step:
        rewards = np.full(self.n_agents, -self.config.divergence_limit / self.n_agents)
        time = self._count * self.config.control_interval
        self.failure = f"control step {self._count}, time {time:g}: {reason}"
        self._run(f"the last one failed: {self.failure}")
        return Step(self._observations.copy(), rewards, True, False, {"failure": self.failure})

    def _not_started(self, reason: str) -> Episode:
        self.failure = reason
        self._run(f"the last one failed: {reason}")
        nothing = np.zeros((self.n_agents, self.observation_size))
        targets = np.zeros_like(self.plant.targets)
        return Episode(nothing, np.zeros(len(self._context)), targets, reason)


def _made_on_one_rank(remake: Remake, config: EnvConfig) -> ArrayEnv:
    return remake(config, MPI.COMM_SELF)


def make(config: EnvConfig | str, comm: MPI.Intracomm | None = None) -> ArrayEnv:
    """The environment of ``config`` on ``comm`` (default: the world). Collective.

    In place of a configuration the name of a scenario or of a problem, or a user's own problem as
    ``FILE.py:CLASS``. A :class:`PDEEnv`, or for ``system: external`` an :class:`ExternalEnv`, which
    has the same array calls and no plant. Raises ConfigError where the files of the mesh are not
    those that ``config`` was bound to (:mod:`hypemarl.config.mesh_files`).

    Example:
        >>> from hypemarl import config, envs
        >>> env = envs.make(config.load("density-1d").env)
        >>> observations, infos = env.reset(seed=0)
    """
    comm = comm or mpi.world()
    config = load(config).env if isinstance(config, str) else config
    mpi.on_root(comm, lambda: mesh_files.check(config))
    made = system_of(config).make(config, comm)
    return PDEEnv(made, config, make) if isinstance(made, Plant) else cast("ArrayEnv", made)
