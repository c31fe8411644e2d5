"""Diagnostics of a trained run: how its agents share, by its policies on fresh episodes.

The numbers are explained in :mod:`hypemarl.agents.diagnostics`. They are those of the averaged
actor that is shipped. The gradients dJ/da come from what the run itself learned from: its critics,
or the plant's adjoint where it followed exact gradients of the cost; its algorithm says which.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hypemarl import mpi
from hypemarl.agents import schemes
from hypemarl.config import Config
from hypemarl.mpi import Comm
from hypemarl.training import evaluation
from hypemarl.training.episodes import collect
from hypemarl.training.evaluation import Array, Policy
from hypemarl.training.learner import Agent, algorithm_of, label
from hypemarl.training.records import RunFolder
from hypemarl.training.setup import MakeEnv, default_make_env
from hypemarl.training.summary import trained_policy
from hypemarl.types import Row

if TYPE_CHECKING:
    from torch import Tensor

    from hypemarl.agents.policy import Probe
    from hypemarl.envs.array_env import ArrayEnv, Episode
    from hypemarl.optimal.taped import TapedPlant


class Probed(NamedTuple):
    """Agents of a run, and diagnostics' view of some episodes."""

    config: Config
    agent: Agent | None
    """None but on rank 0; its ``actor`` is the averaged one"""
    probe: Probe | None
    """None but on rank 0, and where every episode failed"""
    episodes: int
    cost: float
    """mean of these episodes"""
    positions: Array
    """(n, gdim) of the agents"""


class NothingToDiagnose(RuntimeError):
    """Every episode failed: nothing was observed."""


def diagnose_run(
    run_dir: str | Path,
    *,
    episodes: int = 4,
    comm: Comm | None = None,
    make_env: MakeEnv = default_make_env,
) -> Row:
    """Diagnostics of a run on its first held-out parameters; a flat row. Collective.

    Keys: run, scenario, scheme, hypernetwork, encoder, credit (of other algorithms than TD3: the
    algorithm), seed, episodes, cost (mean of these episodes), ``actor_parameters`` and
    ``critic_parameters`` (where it has critics), and those of
    :func:`hypemarl.agents.diagnostics.describe`; of algorithms with a surrogate also its errors,
    ``<policy>_<error>``.
    Raises RunError, CheckpointError: no such run, or one that does not load. TypeError: the run
    followed exact gradients of a plant that has none here. NothingToDiagnose: every episode failed.
    """
    comm = mpi.world() if comm is None else comm
    probed = probe_run(run_dir, episodes=episodes, comm=comm, make_env=make_env)
    folder = RunFolder(run_dir)  # rank 0 alone knows the cost
    row = mpi.on_root(comm, lambda: _head(folder, probed) | _measure(probed.agent, probed.probe))
    diagnose = algorithm_of(probed.config).diagnose
    if diagnose is not None:
        row |= diagnose(run_dir, episodes=episodes, comm=comm, make_env=make_env)
    return row


def probe_run(
    run_dir: str | Path,
    *,
    episodes: int = 4,
    comm: Comm | None = None,
    make_env: MakeEnv = default_make_env,
) -> Probed:
    """Behaviour of the averaged actor of a run's best policy on its first held-out parameters.

    Collective. Raises as :func:`diagnose_run` does, but where every episode failed there is no
    probe.
    """
    comm = mpi.world() if comm is None else comm
    folder = RunFolder(run_dir)
    config = folder.read_config()
    env = make_env(config.env, comm=comm)
    try:
        parameters = evaluation.fixed_set(env, episodes, "held-out")
        policy, agent = trained_policy(folder, env, config, comm)
        if agent is not None:
            agent.actor.load_state_dict(agent.actor_average.state_dict())
        probe_of = algorithm_of(config).probe or _by_sample
        probe, cost = probe_of(env, config, policy, agent, parameters)
        return Probed(config, agent, probe, len(parameters), cost, np.array(env.positions))
    finally:
        env.close()


def _head(folder: RunFolder, probed: Probed) -> Row:
    config, agent = probed.config, probed.config.agent
    scheme = schemes.scheme_of(agent)
    return {
        "run": str(folder.path),
        "scenario": config.scenario,
        "scheme": agent.scheme,
        "hypernetwork": agent.hypernetwork if scheme.generates else "none",
        "encoder": agent.encoder if scheme.has_codes else "none",
        "credit": label(config),
        "seed": config.seed,
        "episodes": probed.episodes,
        "cost": probed.cost,
    }


def _measure(agent: Agent | None, probe: Probe | None) -> dict[str, float]:
    """Parameters and diagnostics. Local, on rank 0."""
    from hypemarl.agents import diagnostics

    if probe is None or agent is None:
        raise NothingToDiagnose("every episode failed, so that there is nothing to diagnose")
    modules = {name: getattr(agent, name, None) for name in ("actor", "critic")}
    counts = {
        f"{name}_parameters": sum(p.numel() for p in module.parameters())
        for name, module in modules.items()
        if module is not None
    }
    return counts | diagnostics.describe(agent.actor, probe)


def _by_sample(
    env: ArrayEnv, config: Config, policy: Policy, agent: Agent | None, parameters: Array
) -> tuple[Probe | None, float]:
    """Episodes of the policy in a replay, and what the agent sees in them. Collective."""
    replay, cost = collect(env, config, policy, parameters, keep=agent is not None)
    sample = None if replay is None else replay.latest(len(parameters))
    return None if agent is None or sample is None else agent.probe(sample), cost


class _Exact(NamedTuple):
    """An episode and minus its cost's gradients in the unit actions: (T, n, k), (n_mu,), (T, n, m).

    Later actions follow the policy, which reacts to the changes by earlier ones.
    """

    observations: Array
    mu: Array
    gradients: Array
    cost: float


def by_adjoint(
    env: ArrayEnv, config: Config, agent: Any, parameters: Array, state_clip: float
) -> tuple[Probe | None, float]:
    """Episodes inside a graph, and minus the cost's exact gradients. Collective.

    ``agent``, on rank 0, has the differentiable ``policy(mu)`` and ``probe_of`` of
    :class:`hypemarl.algorithms.apg.agent.APG`. Raises TypeError where the plant has no adjoint.
    """
    from hypemarl.coupling.adjoint import require_adjoint
    from hypemarl.envs.array_env import plant_of
    from hypemarl.optimal.taped import TapedPlant

    taped = TapedPlant(require_adjoint(plant_of(env)), state_clip)
    costs, episodes = [], []
    for row in parameters:
        start = env.reset_arrays(row)
        run = partial(_differentiate, taped, agent, start, config.env.control_steps)
        exact = taped.lead(run)
        costs.append(np.inf if exact is None else exact.cost)
        episodes += [] if exact is None else [exact]
    cost = float(np.mean(costs))
    if agent is None or not episodes:
        return None, cost
    half = agent.spec.action_half_range
    gradients = [exact.gradients * half for exact in episodes]
    seen, contexts = [e.observations for e in episodes], [e.mu for e in episodes]
    return agent.probe_of(seen, contexts, gradients), cost


def _differentiate(taped: TapedPlant, agent: Any, start: Episode, steps: int) -> _Exact | None:
    """An episode from its start and its gradients, None if it fails. On the leading rank."""
    import torch

    from hypemarl.optimal.bridge import rollout
    from hypemarl.solvers.errors import SolverDiverged

    if start.fault is not None:
        return None
    policy = agent.policy(start.mu)
    seen: list[Array] = []
    changes: list[Tensor] = []

    def act(observations: Tensor) -> Tensor:
        seen.append(observations.detach().numpy().copy())
        actions = policy(observations)
        changes.append(torch.zeros_like(actions, requires_grad=True))
        return actions + changes[-1]

    total = torch.zeros((), dtype=torch.float64)
    try:
        for interval in rollout(taped, act, np.array(start.observations), steps):
            total = total + interval.shares.sum()
        gradients = torch.autograd.grad(-total, changes)
    except SolverDiverged:
        return None
    unit = np.stack([gradient.numpy() for gradient in gradients])
    return _Exact(np.stack(seen), start.mu, unit, float(total.detach()))
