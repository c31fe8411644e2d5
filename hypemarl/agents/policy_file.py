"""Policies in files, which load without the solver: ``hypemarl.load_policy``.

A file is a ``.npz`` with a checksum (:func:`hypemarl.files.write_arrays`). It holds ``about``, JSON
text with ``format`` 1, ``kind`` and whatever its writer says of the policy, and

- ``schedule``: ``actions`` (T, n, m), one row per ``interval``; T = 1: constant actions;
- ``optima``: ``actions`` (E, T, n, m) for each row of ``mu`` (E, n_mu), with ``interval``, and the
  ``costs`` and ``uncontrolled`` costs (E,) there;
- ``network``: ``weights/<name>``, and in ``about`` the ``agent`` settings of the networks, the
  ``spec`` of the agents, and ``horizon``: null for a policy of observations, else the length of the
  episode, whose cosines :func:`time_features` stand in the place of observations.

Nothing in a file is executed, and it holds no paths.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from hypemarl import files
from hypemarl.agents.policy import PolicyAgent
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec
from hypemarl.types import Array, Row

FORMAT = 1
#: settings that define an actor
NETWORK = (
    *("scheme", "encoder", "embedding_size", "encoding_size", "encoding_frequency"),
    *("hypernetwork", "hyper_width", "hyper_depth", "hyper_chunk", "hyper_chunk_embedding"),
    *("hyper_rank", "actor_hidden", "output_gain"),
)
#: of a spec, which also has the stencil, for training only
PLACES = tuple(f.name for f in dataclasses.fields(AgentSpec) if f.name != "stencil")
FEATURES = 8


class PolicyError(ValueError):
    """A file that holds no policy, or a policy without actions at this mu."""


class TimedPolicy(Protocol):
    """Actions (n, m) from observations (n, k), mu (n_mu,) and the time since the episode began."""

    def __call__(self, observations: Array, mu: Array, time: float) -> Array:
        """The actions of the control interval that begins at ``time``. Local."""

    def content(self) -> tuple[Row, Row]:
        """Facts for ``about``, and arrays, from which the policy is made again."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """Actions (T, n, m) over time, one row per ``interval``; the last one goes on."""

    actions: Array
    interval: float

    def __call__(self, observations: Array, mu: Array, time: float) -> Array:
        """The row of ``time``, whatever is observed."""
        return _row(self.actions, time, self.interval)

    def content(self) -> tuple[Row, Row]:
        """See the module."""
        return {"kind": "schedule"}, {"actions": self.actions, "interval": self.interval}


@dataclass(frozen=True, eq=False)
class Optima:
    """Schedules (E, T, n, m) that are optimal each at one of the rows of ``mu`` (E, n_mu)."""

    mu: Array
    actions: Array
    interval: float
    costs: Array
    uncontrolled: Array

    def __call__(self, observations: Array, mu: Array, time: float) -> Array:
        """The row of ``time`` of the optimum at ``mu``. Raises PolicyError where there is none."""
        near = np.flatnonzero(np.isclose(self.mu, mu, rtol=1e-9, atol=1e-12).all(axis=1))
        if not len(near):
            raise PolicyError(
                f"mu {np.asarray(mu).tolist()}: expected one of the {len(self.mu)} rows whose "
                "optimum is in this file (its .mu)"
            )
        return _row(self.actions[near[0]], time, self.interval)

    def content(self) -> tuple[Row, Row]:
        """See the module."""
        return {"kind": "optima"}, vars(self)


def _row(actions: Array, time: float, interval: float) -> Array:
    """The row that holds at ``time``, which is a multiple of the interval but for rounding."""
    return np.array(actions[min(int(time / interval + 1e-6), len(actions) - 1)])


class NetworkPolicy:
    """The averaged actor of an agent, of observations, or with a ``horizon`` of time and mu."""

    def __init__(self, agent: PolicyAgent, horizon: float | None = None) -> None:
        self.agent, self.horizon = agent, horizon

    def __call__(self, observations: Array, mu: Array, time: float) -> Array:
        """Actions in the environment's units; with a horizon observations are not read."""
        if self.horizon is not None:
            observations = time_features(time / self.horizon, self.agent.spec)
        return self.agent.act(np.asarray(observations, dtype=np.float64), np.asarray(mu))

    def content(self) -> tuple[Row, Row]:
        """See the module."""
        agent = {name: getattr(self.agent.config, name) for name in NETWORK}
        places = {name: getattr(self.agent.spec, name) for name in PLACES}
        spec = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in places.items()}
        facts = {"kind": "network", "agent": agent, "spec": spec, "horizon": self.horizon}
        state = self.agent.actor_average.state_dict()
        return facts, {f"weights/{name}": value.cpu().numpy() for name, value in state.items()}


def time_features(share: float, spec: AgentSpec) -> Array:
    """(n, k) cosines of the share of the horizon that is over, the same for all agents."""
    waves = np.cos(np.pi * share * np.arange(1, spec.observation_size + 1))
    return np.tile(waves, (spec.n_agents, 1))


def save_policy(path: str | Path, policy: TimedPolicy, about: Row) -> None:
    """Write a policy with facts ``about`` it (JSON values). Local; raises WriteError."""
    facts, arrays = policy.content()
    text = json.dumps({"format": FORMAT} | about | facts)
    files.write_arrays(Path(path), arrays | {"about": np.array(text)}, compress=True)


def load_policy(path: str | Path) -> TimedPolicy:
    """Read a policy: ``policy(observations, mu, time)`` gives the actions (n, m). Local.

    Neither the solver nor the environment is needed. See the module for the format, and
    :func:`read_about` for the facts about the policy.

    Raises:
        PolicyError: the file is no policy, or of a later format. OSError: it cannot be read.
    """
    about, stored = _read(Path(path))
    try:
        if about["kind"] == "schedule":
            return Schedule(stored["actions"], float(stored["interval"]))
        if about["kind"] == "optima":
            names = [f.name for f in dataclasses.fields(Optima)]
            fields = {name: stored[name] for name in names if name != "interval"}
            return Optima(**fields, interval=float(stored["interval"]))
        if about["kind"] == "network":
            return NetworkPolicy(_agent(about, stored), about["horizon"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise PolicyError(f"{path}: the policy does not fit its description ({error})") from error
    raise PolicyError(
        f"{path}: expected a schedule, optima or a network, got kind {about['kind']!r}; it may be "
        "of a later version"
    )


def read_about(path: str | Path) -> Row:
    """Facts that a policy's file holds beside its numbers. Local; raises as :func:`load_policy`."""
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[Row, dict[str, np.ndarray]]:
    try:
        stored, _ = files.read_arrays(path)
        about = json.loads(str(stored.pop("about")))
        kind, version = about["kind"], int(about["format"])
    except (files.DamagedError, KeyError, TypeError, ValueError) as error:
        raise PolicyError(
            f"{path}: expected a policy, as `hypemarl yardsticks` and `hypemarl export` write it "
            f"({type(error).__name__}: {error})"
        ) from error
    if version > FORMAT:
        raise PolicyError(f"{path}: {kind} of format {version}; this version reads up to {FORMAT}")
    return about, stored


def _agent(about: Row, stored: dict[str, np.ndarray]) -> PolicyAgent:
    """An agent whose averaged actor has the stored weights."""
    settings: Row = {k: tuple(v) if isinstance(v, list) else v for k, v in about["agent"].items()}
    spec: Row = {k: tuple(v) if isinstance(v, list) else v for k, v in about["spec"].items()}
    agent = PolicyAgent(AgentSpec(**spec, stencil=_no_stencil), AgentConfig(**settings), seed=0)
    prefix = "weights/"
    weights = {
        name.removeprefix(prefix): torch.from_numpy(value)
        for name, value in stored.items()
        if name.startswith(prefix)
    }
    agent.actor_average.load_state_dict(weights)
    return agent


def _no_stencil(radius: int) -> np.ndarray:
    raise PolicyError("a policy out of a file knows no neighbours: it acts and does not learn")
