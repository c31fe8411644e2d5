"""One environment of VMAS as a PettingZoo ``ParallelEnv``.

VMAS computes in torch; numpy goes in and out here, so that nothing of torch is used by name.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import vmas
from pettingzoo import ParallelEnv

from hypemarl.types import Row


def scenario_names() -> list[str]:
    """Names of VMAS's scenarios, those of MPE and for debugging included."""
    return sorted({*vmas.scenarios, *vmas.mpe_scenarios, *vmas.debug_scenarios})


def option_names(scenario: str) -> list[str]:
    """Options that the scenario's file takes out of its ``kwargs``, in their order."""
    file = next(Path(vmas.__path__[0], "scenarios").rglob(f"{scenario}.py"))
    names = re.findall(r"kwargs\.(?:pop|get)\(\s*[\"'](\w+)", file.read_text(encoding="utf-8"))
    return list(dict.fromkeys(names))


class VmasEnv(ParallelEnv):
    """A VMAS scenario (its file's name in ``vmas.scenarios``) with one environment in its batch.

    All agents terminate together, when the scenario is done; the horizon is the caller's, unless
    ``max_steps`` is set. VMAS keeps its random state apart from torch's, but one for all its
    environments: two in one process must not be stepped in turns where episodes are to repeat.

    Args:
        scenario: name of the scenario.
        arguments: options of the scenario's ``make_world``, such as ``n_agents``.
    """

    def __init__(self, scenario: str, **arguments: Any) -> None:
        self.metadata = {"name": f"vmas-{scenario}", "render_modes": []}
        self._env = vmas.make_env(
            scenario,
            num_envs=1,
            device="cpu",
            continuous_actions=True,
            terminated_truncated=True,
            seed=0,
            **arguments,
        )
        self.possible_agents = [agent.name for agent in self._env.agents]
        self.agents = list(self.possible_agents)
        self.observation_spaces = self._boxes(self._env.observation_space)
        self.action_spaces = self._boxes(self._env.action_space)

    def observation_space(self, agent: str) -> gymnasium.spaces.Box:
        """Box of the agent's observation."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.spaces.Box:
        """Box of the agent's force (and whatever else the scenario lets it set)."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: Row | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Row]]:
        """Start the episode of ``seed``; without one VMAS's random state goes on."""
        self.agents = list(self.possible_agents)
        observations = self._by_agent(self._env.reset(seed=seed))
        return observations, {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, np.ndarray]) -> tuple[dict, dict, dict, dict, dict]:
        """One time step of the scenario; the rewards are floats."""
        batch = [np.asarray(actions[agent], np.float32)[None] for agent in self.possible_agents]
        observations, rewards, done, cut, _ = self._env.step(batch)
        agents, terminated, truncated = self.agents, bool(done[0]), bool(cut[0])
        if terminated or truncated:
            self.agents = []
        return (
            self._by_agent(observations),
            {a: float(r[0]) for a, r in zip(self.possible_agents, rewards, strict=True)},
            dict.fromkeys(agents, terminated),
            dict.fromkeys(agents, truncated),
            {agent: {} for agent in agents},
        )

    def _by_agent(self, batch: Iterable) -> dict[str, np.ndarray]:
        return {a: o[0].numpy() for a, o in zip(self.possible_agents, batch, strict=True)}

    def _boxes(self, spaces: Iterable[gymnasium.spaces.Box]) -> dict[str, gymnasium.spaces.Box]:
        """VMAS speaks in the spaces of the old gym; the same boxes in gymnasium's."""
        return {
            agent: gymnasium.spaces.Box(space.low, space.high, dtype=np.float32)
            for agent, space in zip(self.possible_agents, spaces, strict=True)
        }
