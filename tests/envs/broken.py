"""Environments that break PettingZoo's interface in one way each, over a sound one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Graph
from point_agents import PointAgents


class Sound(PointAgents):
    """Float32 observations of a declared float64, rewards as 0-d arrays: unusual, but right."""

    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = super().step(actions)
        rewards = {a: np.asarray(r, np.float32) for a, r in rewards.items()}
        return ({a: o.astype(np.float32) for a, o in observations.items()}, rewards, *rest)


class Turned(PointAgents):
    """Its answers go through ``of_reset`` and ``of_step``, which subclasses override."""

    def reset(self, seed: Any = None, options: Any = None) -> Any:
        return self.of_reset(*super().reset(seed))

    def step(self, actions: Any) -> Any:
        return self.of_step(*super().step(actions))

    def of_reset(self, observations: Any, infos: Any) -> Any:
        return observations, infos

    def of_step(self, *parts: Any) -> Any:
        return parts


class RewardArray(Turned):
    def of_step(self, observations: Any, rewards: Any, *rest: Any) -> Any:
        return (observations, rewards | {"point_1": np.ones(1)}, *rest)


class RewardNone(Turned):
    def of_step(self, observations: Any, rewards: Any, *rest: Any) -> Any:
        return (observations, rewards | {"point_1": None}, *rest)


class RewardMissing(Turned):
    def of_step(self, observations: Any, rewards: Any, *rest: Any) -> Any:
        return (observations, {a: r for a, r in rewards.items() if a != "point_1"}, *rest)


class ObservationMissing(Turned):
    def of_step(self, observations: Any, *rest: Any) -> Any:
        return ({a: o for a, o in observations.items() if a != "point_1"}, *rest)


class FirstObservationMissing(Turned):
    def of_reset(self, observations: Any, infos: Any) -> Any:
        return {a: o for a, o in observations.items() if a != "point_1"}, infos


class WrongShape(Turned):
    def of_reset(self, observations: Any, infos: Any) -> Any:
        return observations | {"point_1": np.zeros(2)}, infos


class WrongType(Turned):
    def of_reset(self, observations: Any, infos: Any) -> Any:
        return observations | {"point_1": np.array(["x"])}, infos


class ObservationsOnly(Turned):
    def of_reset(self, observations: Any, infos: Any) -> Any:
        return observations


class FourOfFive(Turned):
    def of_step(self, *parts: Any) -> Any:
        return parts[:4]


class Nobody(PointAgents):
    def __init__(self) -> None:
        super().__init__()
        self.possible_agents = []


class NoList(PointAgents):
    def __init__(self) -> None:
        super().__init__()
        del self.possible_agents


class Seedless(PointAgents):
    def reset(self) -> Any:  # type: ignore[override]
        return super().reset()


class NobodyLives(Turned):
    def of_reset(self, observations: Any, infos: Any) -> Any:
        self.agents = []
        return {}, {}


class Stranger(Turned):
    def of_reset(self, observations: Any, infos: Any) -> Any:
        self.agents = [*self.agents, "stranger"]
        return observations, infos


class NoSpace(PointAgents):
    def observation_space(self, agent: str) -> Any:
        return Graph(Box(-1.0, 1.0, (1,)), None)


class FileMissing(PointAgents):
    def __init__(self) -> None:
        self.mesh = Path("/nowhere/mesh.dat").read_bytes()


class Raises(PointAgents):
    def step(self, actions: Any) -> Any:
        return {}["b"]


class Somewhere(PointAgents):
    places: Any = {}

    def __init__(self) -> None:
        super().__init__()
        known = {name: np.array([float(i), 0.0]) for i, name in enumerate(self.possible_agents)}
        self.agent_positions = {a: p for a, p in (known | self.places).items() if p is not None}


class PlaceMissing(Somewhere):
    places = {"point_2": None}


class PlaceNan(Somewhere):
    places = {"point_2": np.array([np.nan, 0.0])}


class PlaceFlat(Somewhere):
    places = {"point_2": np.zeros(1)}


class LateBreach(Turned):
    """Sound until its fourth step."""

    def of_step(self, *parts: Any) -> Any:
        self.made = getattr(self, "made", 0) + 1
        return RewardArray.of_step(self, *parts) if self.made == 4 else parts


class NotFinite(Turned):
    """First observations are not finite for seeds in ``first``, those of step 2 in ``second``."""

    def __init__(self, first: Any = (), second: Any = (), value: float = np.nan) -> None:
        super().__init__()
        self.first, self.second, self.value, self.seeds = first, second, value, []

    def reset(self, seed: Any = None, options: Any = None) -> Any:
        self.seed, self.time = seed, 0
        return super().reset(seed)

    def of_reset(self, observations: Any, infos: Any) -> Any:
        return self._spoilt(observations, self.seed in self.first), infos

    def of_step(self, observations: Any, *rest: Any) -> Any:
        self.time += 1
        return (self._spoilt(observations, self.time == 2 and self.seed in self.second), *rest)

    def _spoilt(self, observations: Any, now: bool) -> Any:
        return observations | {"point_1": np.array([self.value])} if now else observations
