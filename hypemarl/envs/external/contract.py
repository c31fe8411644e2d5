"""Requirements on an external PettingZoo ``ParallelEnv``, and one sentence for each breach.

Nothing here is collective: the rank that holds the environment raises, :mod:`hypemarl.mpi` relays.
"""

import inspect
import traceback
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space, flatdim, flatten
from pettingzoo import ParallelEnv

from hypemarl.config import ConfigError
from hypemarl.config.errors import cut
from hypemarl.envs.dictionaries import described, numbers

STEP = ("observations", "rewards", "terminations", "truncations", "infos")
_cut = partial(cut, longest=300)  # texts of a foreign environment

type ByAgent = Mapping[Hashable, Any]


class ContractError(ConfigError):
    """An external environment does not keep to PettingZoo's interface."""


class CheckedEnv:
    """A ``ParallelEnv`` whose answers are checked, so that a breach is named where it occurs.

    NaN and infinity are no breach: an episode may diverge, which callers find in the values.

    Args:
        source: name of the environment in messages. make: makes it.

    Attributes:
        env: the environment. names: its agents (n). observation_spaces, boxes: theirs, in order.

    Raises:
        ContractError: it cannot be made, or has no agents, no spaces that can be flattened, no
            bounded ``Box`` of actions, or a ``reset`` that takes no seed.
    """

    def __init__(self, source: str, make: Callable[[], ParallelEnv]) -> None:
        self.source = source
        self.env = self._call("making it", make)
        self.names = self._agents()
        self.observation_spaces = [self._observation_space(name) for name in self.names]
        self.sizes = np.array([flatdim(space) for space in self.observation_spaces])
        self.boxes = [self._action_box(name) for name in self.names]
        self._require_seed()

    @property
    def live(self) -> set[Hashable]:
        """The agents that act next."""
        live = set(getattr(self.env, "agents", ()))
        if unknown := live.difference(self.names):
            raise self._breach(
                f"agents: expected some of its possible_agents, got {_listed(unknown)} too"
            )
        return live

    def reset(self, seed: int) -> ByAgent:
        """Start an episode; returns the observations of the live agents, unchecked."""
        answer = self._call("reset()", lambda: self.env.reset(seed=seed))
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], Mapping)):
            raise self._breach(
                "reset(): expected (observations, infos), two dictionaries by agent, got "
                f"{described(answer)}"
            )
        if not self.live:
            raise self._breach("reset(): expected live agents in `agents`, got none")
        return answer[0]

    def step(self, actions: Mapping[Hashable, np.ndarray]) -> tuple[ByAgent, ...]:
        """One step; returns observations (unchecked), rewards (floats), terminations, truncations.

        Every agent that acted must get a reward.
        """
        answer = self._call("step()", lambda: self.env.step(actions))
        whole = isinstance(answer, tuple) and len(answer) == len(STEP)
        if not whole or not all(isinstance(part, Mapping) for part in answer):
            raise self._breach(
                f"step(): expected ({', '.join(STEP)}), five dictionaries by agent, got "
                f"{described(answer)}"
            )
        observations, rewards, terminations, truncations, _ = answer
        earned = {name: self._reward(name, rewards) for name in actions}
        return observations, earned, terminations, truncations

    def flat(self, index: int, observations: ByAgent) -> np.ndarray:
        """The flattened observation (sizes[index],) of a live agent."""
        name, space = self.names[index], self.observation_spaces[index]
        if name not in observations:
            raise self._breach(
                f"expected an observation of the live agent {name!r}, got those of "
                f"{_listed(observations)}"
            )
        value = observations[name]
        if isinstance(space, Box) and numbers(value, space.shape) is None:
            raise self._breach(
                f"observation of agent {name!r}: expected an array of numbers of shape "
                f"{space.shape}, got {described(value)}"
            )
        try:
            return np.asarray(flatten(space, value), dtype=np.float64)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise self._breach(
                f"observation of agent {name!r}: expected an element of {_cut(str(space))}, got "
                f"{described(value)}"
            ) from error

    def positions(self) -> np.ndarray | None:
        """``agent_positions`` (n, gdim) of the environment, None where it offers none."""
        places = getattr(self.env, "agent_positions", None)
        if places is None:
            return None
        if not isinstance(places, Mapping):
            raise self._breach(
                f"agent_positions: expected a dictionary by agent, got {described(places)}"
            )
        if absent := [name for name in self.names if name not in places]:
            raise self._breach(f"agent_positions: expected all agents, {_listed(absent)} missing")
        return np.array([self._place(name, places) for name in self.names])

    def close(self) -> None:
        """Close the environment."""
        self._call("close()", self.env.close)

    def _agents(self) -> tuple[Hashable, ...]:
        names = getattr(self.env, "possible_agents", None)
        if not isinstance(names, list | tuple) or not names:
            listed = "none" if names is None or names == [] else described(names)
            raise self._breach(
                f"possible_agents: expected a list of one agent or more, got {listed}"
            )
        if len(set(names)) < len(names):
            raise self._breach(f"possible_agents: expected different names, got {_listed(names)}")
        return tuple(names)

    def _observation_space(self, name: Hashable) -> Space:
        space = self._call("observation_space()", lambda: self.env.observation_space(name))
        if not isinstance(space, Space) or not space.is_np_flattenable:
            raise self._breach(
                f"observation_space of agent {name!r}: expected a space that flattens to numbers, "
                f"got {_cut(str(space))}"
            )
        return space

    def _action_box(self, name: Hashable) -> Box:
        space = self._call("action_space()", lambda: self.env.action_space(name))
        if not isinstance(space, Box) or not np.issubdtype(space.dtype, np.floating):
            raise self._breach(
                f"agent {name!r} has actions {_cut(str(space))}, expected a Box of floats: the "
                "agents here act continuously; many environments take continuous_actions=True in "
                "env.external.options"
            )
        bounded = np.isfinite(space.low).all() and np.isfinite(space.high).all()
        if not bounded or not (space.low < space.high).all():
            raise self._breach(
                f"agent {name!r} has actions {_cut(str(space))}, expected finite bounds, low < high"
            )
        return space

    def _require_seed(self) -> None:
        try:
            inspect.signature(self.env.reset).bind(seed=0)
        except TypeError as error:
            raise self._breach(
                "reset(): expected reset(seed=None, options=None), as an episode here is a seed, "
                f"got reset{inspect.signature(self.env.reset)}"
            ) from error
        except ValueError:  # compiled, its arguments unknown: reset(seed=...) itself will tell
            return

    def _reward(self, name: Hashable, rewards: ByAgent) -> float:
        if name not in rewards:
            raise self._breach(
                f"step(): expected a reward of agent {name!r}, which acted, got none"
            )
        value = rewards[name]
        if numbers(value, ()) is None:
            raise self._breach(
                f"step(): reward of agent {name!r}: expected a number, got {described(value)}"
            )
        return float(value)

    def _place(self, name: Hashable, places: ByAgent) -> np.ndarray:
        first = np.shape(np.atleast_1d(places[self.names[0]]))
        place = numbers(np.atleast_1d(places[name]), first)
        if place is None or place.ndim != 1 or not np.isfinite(place).all():
            raise self._breach(
                f"agent_positions of agent {name!r}: expected finite coordinates, as many as those "
                f"of the first agent {first}, got {_cut(str(places[name]))}"
            )
        return place.astype(np.float64)

    def _call[T](self, what: str, function: Callable[[], T]) -> T:
        """Call foreign code; its errors get the environment's name and the place in its file."""
        try:
            return function()
        except ConfigError:
            raise
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            text = _cut(" ".join(str(error).split()))
            raise self._breach(
                f"{what} raised {type(error).__name__}: {text} "
                f"({Path(frame.filename).name}, line {frame.lineno})"
            ) from error

    def _breach(self, text: str) -> ContractError:
        return ContractError(f"{self.source}: {text}")


def _listed(names: Iterable[object]) -> str:
    return _cut(str(sorted(map(str, names))))
