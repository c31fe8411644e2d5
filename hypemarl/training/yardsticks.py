"""Yardsticks: the best policies that know less than the agents.

========================= ============================================================
``best_constant``         one vector (n, m) of actions for all times and mu
``schedule``              actions (T, n, m) over time, the same for all mu
``schedule_mu``           a network of time, place and mu, without observations
``feedback``              linear in each agent's observation, the same for all agents
========================= ============================================================

They are fitted by exact gradients on mu drawn out of the training box by a seed, selected on the
validation set, as runs are, and never see the held-out set. Where the plant has no adjoint, the
best constant is searched for without gradients, and the others are left out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hypemarl import files, mpi
from hypemarl.agents.learning import descend
from hypemarl.agents.policy import PolicyAgent
from hypemarl.agents.policy_file import (
    FEATURES,
    NetworkPolicy,
    PolicyError,
    Schedule,
    TimedPolicy,
    load_policy,
    read_about,
    save_policy,
    time_features,
)
from hypemarl.agents.schemes import INFORMED, REFERENCE
from hypemarl.config import Config, EnvConfig, mesh_files
from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.envs.array_env import plant_of
from hypemarl.optimal.bridge import rollout
from hypemarl.optimal.open_loop import OpenLoop, problem_digest
from hypemarl.optimal.taped import TapedPlant
from hypemarl.seeding import numpy_generator
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.training import evaluation
from hypemarl.training.shares import KINDS
from hypemarl.types import Array, Row

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv

RATES = {"best_constant": 0.05, "schedule": 0.05, "schedule_mu": 1e-3, "feedback": 5e-3}
"""Adam rates at the start, of unit actions or of weights."""
RATE_END = 0.05
"""Share of the rate at the end, with half a cosine between."""
CLIP = 1.0
"""Largest norm of a gradient: few mu have costs far above the others."""
POPULATION, ELITES, DRAWS = 24, 6, 4
"""Of a search without gradients: candidates, those that the next ones are drawn from, and mu."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """Episodes that a fit may take, and how often the policy is validated in that time."""

    episodes: int = 400
    validations: int = 10


class Fitted(NamedTuple):
    """The policies of a fit: of the best validation and the last one, with their costs there."""

    best: TimedPolicy
    last: TimedPolicy
    best_cost: float
    last_cost: float


class _Table:
    """Unit actions (T, n, m) over time."""

    def __init__(self, unit: Array, env: ArrayEnv) -> None:
        self.unit, self.spec = torch.tensor(unit, requires_grad=True), env.agent_spec
        self.interval = env.config.control_interval

    def actor(self, mu: Array) -> Callable[[Tensor, int], Tensor]:
        """Of an episode: observations and number of a control interval -> actions (n, m)."""
        middle, half = map(torch.from_numpy, (self.spec.action_middle, self.spec.action_half_range))
        return lambda observations, step: middle + half * self.unit[min(step, len(self.unit) - 1)]

    @torch.no_grad()
    def project(self) -> None:
        """Put the actions back into their bounds."""
        self.unit.clamp_(-1.0, 1.0)

    def policy(self) -> Schedule:
        """The policy as it is now."""
        unit = self.unit.detach().numpy()
        actions = self.spec.action_middle + self.spec.action_half_range * unit
        actions = np.clip(actions, self.spec.action_low, self.spec.action_high)
        return Schedule(actions, self.interval)


class _Network:
    """An actor of observations, or of ``time`` in their place."""

    def __init__(self, env: ArrayEnv, config: Config, seed: int, *, time: bool) -> None:
        spec = env.agent_spec
        if time:  # no observation, so that it is no feedback
            spec = dataclasses.replace(spec, observation_size=FEATURES, own_features=(0,))
        self.steps, self.horizon = env.control_steps, env.config.horizon if time else None
        self.agent = PolicyAgent(spec, config.agent, seed)

    def actor(self, mu: Array) -> Callable[[Tensor, int], Tensor]:
        """See :meth:`_Table.actor`."""
        spec = self.agent.spec
        middle, half = map(torch.from_numpy, (spec.action_middle, spec.action_half_range))
        policy = self.agent.actor.at(torch.tensor(spec.scale_mu(mu), dtype=torch.float32)[None])

        def act(observations: Tensor, step: int) -> Tensor:
            if self.horizon is not None:
                observations = torch.from_numpy(time_features(step / self.steps, spec))
            unit = policy(observations.float()[None, :, None])[0, :, 0].double()
            return middle + half * unit

        return act

    def project(self) -> None:
        """Nothing: the actor keeps to the bounds."""

    def policy(self) -> NetworkPolicy:
        """A copy of the policy as it is now."""
        agent = PolicyAgent(self.agent.spec, self.agent.config, self.agent.seed)
        agent.actor_average.load_state_dict(self.agent.actor.state_dict())
        return NetworkPolicy(agent, self.horizon)


def fit(
    kind: str,
    env: ArrayEnv,
    config: Config,
    *,
    seed: int = 0,
    budget: Budget | None = None,
    start: Schedule | None = None,
    progress: Callable[[int, float], None] = lambda episode, cost: None,
) -> Fitted:
    """Fit a policy of one of the :data:`KINDS` on training mu. Collective; rank 0's counts.

    ``start``: initial actions of a schedule, so that it is no worse in validation; constants begin
    from zero or the plant's baseline, whichever is better. ``progress`` is called with the
    episode and the cost after each validation.
    Raises TypeError: the plant has no adjoint, which all but ``best_constant`` need.
    """
    budget = budget or Budget()
    model = _model(kind, env, config, seed, start)
    select = _Selection(env, config, progress)
    select(0, model.policy())
    if isinstance(model, _Table) and kind == KINDS[0] and not OpenLoop.serves(env):
        for episode, unit in _search(env, model.unit.detach().numpy()[0], seed, budget):
            model = _Table(unit[None], env)
            select(episode, model.policy())
        return select.fitted
    descent = _Descent(env, config, kind, model, seed)
    every = max(1, budget.episodes // budget.validations)
    for episode in range(1, budget.episodes + 1):
        descent.run(episode / budget.episodes)
        if episode % every == 0 or episode == budget.episodes:
            select(episode, model.policy())
    return select.fitted


def _model(
    kind: str, env: ArrayEnv, config: Config, seed: int, start: Schedule | None
) -> _Table | _Network:
    # whatever the scheme of the configuration
    networks: dict[str, Row] = {
        "schedule_mu": {"scheme": INFORMED.name},
        "feedback": {"scheme": REFERENCE.name, "actor_hidden": ()},
    }
    if kind in networks:
        agent = dataclasses.replace(config.agent, **networks[kind])
        config = dataclasses.replace(config, agent=agent)
        return _Network(env, config, seed, time=kind == "schedule_mu")
    spec = env.agent_spec
    if start is None:
        validation = evaluation.fixed_set(env, config.training.validation_size, "validation")
        starts = [evaluation.BASELINES[name](env) for name in ("uncontrolled", "hand_made")]
        costs = [evaluation.evaluate_policy(env, policy, validation).cost for policy in starts]
        no_input = np.zeros((spec.n_agents, spec.observation_size)), np.zeros(spec.mu_size)
        actions = starts[int(np.argmin(costs))](*no_input)[None]
    else:
        actions = start.actions
    unit = (actions - spec.action_middle) / spec.action_half_range
    steps = env.control_steps if kind == "schedule" else 1
    return _Table(np.broadcast_to(unit, (steps, *unit.shape[1:])).copy(), env)


class _Selection:
    """The policy of the lowest validation cost so far, and the last one."""

    def __init__(
        self, env: ArrayEnv, config: Config, progress: Callable[[int, float], None]
    ) -> None:
        self.env, self.progress = env, progress
        self.set = evaluation.fixed_set(env, config.training.validation_size, "validation")
        self.fitted: Fitted

    def __call__(self, episode: int, policy: TimedPolicy) -> None:
        cost = evaluation.evaluate_policy(self.env, clocked(policy, self.env), self.set).cost
        self.progress(episode, cost)
        if episode == 0 or cost < self.fitted.best_cost:
            self.fitted = Fitted(policy, policy, cost, cost)
        self.fitted = self.fitted._replace(last=policy, last_cost=cost)


class _Descent:
    """Adam steps along the exact gradients of single episodes."""

    def __init__(
        self, env: ArrayEnv, config: Config, kind: str, model: _Table | _Network, seed: int
    ) -> None:
        self.env, self.model, self.limit = env, model, config.env.divergence_limit
        self.taped = TapedPlant(require_adjoint(plant_of(env)))
        parameters = model.agent.actor.parameters() if isinstance(model, _Network) else [model.unit]
        self.rate, self.optimiser = RATES[kind], torch.optim.Adam(parameters, RATES[kind])
        self.generator = numpy_generator(seed, f"yardstick-{kind}")

    def run(self, share: float) -> None:
        """One episode and one step, with ``share`` of the fit done. Collective."""
        episode = self.env.reset_arrays(self.env.sample_parameters(self.generator))
        if episode.fault is not None:
            return
        fall = 0.5 * (1.0 + math.cos(math.pi * share))
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * (RATE_END + (1.0 - RATE_END) * fall)
        self.taped.lead(lambda: self._step(episode.observations, episode.mu))

    def _step(self, observations: Array, mu: Array) -> None:
        """The same on the leading rank; an episode that fails teaches nothing."""
        act, steps = self.model.actor(mu), iter(range(self.env.control_steps))
        loss = torch.zeros((), dtype=torch.float64)
        try:
            for interval in rollout(
                self.taped,
                lambda seen: act(seen, next(steps)),
                observations,
                self.env.control_steps,
                self.limit,
            ):
                loss = loss + interval.shares.sum()
        except SolverDiverged:
            return
        descend(self.optimiser, loss, CLIP)
        self.model.project()


def _search(env: ArrayEnv, unit: Array, seed: int, budget: Budget) -> Iterator[tuple[int, Array]]:
    """Best constants (n, m) by the cross-entropy method: the mean of each generation. Collective.

    Candidates of a generation run at the same mu.
    """
    generator, middle, spread = numpy_generator(seed, "yardstick-search"), unit, 0.5
    spec, deviation = env.agent_spec, np.full(unit.shape, spread)
    for generation in range(1, max(1, budget.episodes // (POPULATION * DRAWS)) + 1):
        draws = np.stack([env.sample_parameters(generator) for _ in range(DRAWS)])
        shape = (POPULATION, *unit.shape)
        tried = np.clip(middle + deviation * generator.standard_normal(shape), -1.0, 1.0)
        costs = []
        for candidate in tried:
            actions = spec.action_middle + spec.action_half_range * candidate
            costs.append(evaluation.evaluate_policy(env, evaluation.constant(actions), draws).cost)
        best = tried[np.argsort(costs, kind="stable")[:ELITES]]
        middle, deviation = best.mean(axis=0), best.std(axis=0) + 0.05
        yield generation * POPULATION * DRAWS, middle


def clocked(policy: TimedPolicy, env: ArrayEnv) -> evaluation.Policy:
    """A policy of time for rollouts of ``env``, whose plant tells the time (else it stands)."""
    plant = env.plant
    return lambda observations, mu: policy(observations, mu, 0.0 if plant is None else plant.time)


# Stored ones.


def path_of(config: EnvConfig, kind: str, seed: int) -> Path:
    """The file of a fitted policy in the cache folder. Local."""
    digest = problem_digest(config, mesh_files.content(config), kind=kind)
    return files.cache_folder(mpi.note) / "yardsticks" / f"{kind}-{digest}-seed{seed}.npz"


def stored(env: ArrayEnv, seeds: int = 10) -> dict[str, list[TimedPolicy]]:
    """Fitted policies of this problem by kind, one for each seed below ``seeds``. Collective."""

    def read(path: Path) -> TimedPolicy | None:
        try:
            return load_policy(path) if path.is_file() else None
        except (PolicyError, OSError) as error:
            mpi.note(f"{path}: {error}; it counts as unknown")
            return None

    known: dict[str, list[TimedPolicy]] = {}
    for kind in KINDS:
        policies = [read(path_of(env.config, kind, seed)) for seed in range(seeds)]
        known[kind] = [policy for policy in policies if policy is not None]
    return {kind: policies for kind, policies in known.items() if policies}


def _better(fitted: Fitted, path: Path) -> Fitted:
    """``fitted``, or the stored policy where that costs less on the same validation set."""
    cost = float(read_about(path)["validation_cost"])
    if fitted.best_cost <= cost:
        return fitted
    return fitted._replace(best=load_policy(path), best_cost=cost)


def fit_all(
    env: ArrayEnv,
    config: Config,
    seed: int,
    budget: Budget,
    progress: Callable[[str, int, float], None] = lambda kind, episode, cost: None,
    *,
    fresh: bool = False,
) -> list[Path]:
    """Fit all kinds that the environment allows, and store them in the cache folder. Collective.

    Those that are stored already are kept, unless ``fresh``. Returns the files of all.
    """
    kinds = KINDS if OpenLoop.serves(env) else KINDS[:1]
    paths = [path_of(env.config, kind, seed) for kind in kinds]
    for kind, path in zip(kinds, paths, strict=True):
        if mpi.on_root(env.comm, path.is_file) and not fresh:
            continue
        constant = load_policy(paths[0]) if kind == "schedule" else None
        assert constant is None or isinstance(constant, Schedule)
        show = partial(progress, kind)
        fitted = fit(kind, env, config, seed=seed, budget=budget, start=constant, progress=show)
        if kind == "schedule_mu":  # a schedule is one, too
            fitted = _better(fitted, paths[kinds.index("schedule")])
        about = {"name": kind, "scenario": config.scenario, "seed": seed}
        about |= {"validation_cost": fitted.best_cost, "last_validation_cost": fitted.last_cost}
        with mpi.raise_together(env.comm):
            if env.comm.rank == 0:
                save_policy(path, fitted.best, about)
    return paths
