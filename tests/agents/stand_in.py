"""A numpy stand-in of density-1d: finite volumes, patch means, eight control intervals. Tests only.

dy/dt + d/dx(-nu dy/dx + u y) = 0 on (-1, 1), no flux at the walls, Scharfetter-Gummel fluxes on
cells of width 1/20, u piecewise linear through ten agents' amplitudes. All episodes of a batch run
at once.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from hypemarl.agents.replay import Experience, Replay
from hypemarl.algorithms.td3.agent import TD3
from hypemarl.config import AgentConfig
from hypemarl.coupling.neighbourhood import grid_stencil
from hypemarl.coupling.spec import AgentSpec

AGENTS, CELLS, STEPS, SUBSTEPS = 10, 40, 8, 25
H, DT, NU, BETA, BETA_G = 2.0 / CELLS, 2.0 / (STEPS * SUBSTEPS), 1e-3, 0.02, 0.005
CENTRES = -1.0 + H * (np.arange(CELLS) + 0.5)
POSITIONS = -1.0 + 0.2 * (np.arange(AGENTS) + 0.5)
LEARNING = {  # what learned on the prototype
    "encoding_size": 16,
    "encoding_frequency": 1.5,
    "hyper_width": 64,
    "actor_hidden": (32,),
    "critic_hidden": (64,),
    "actor_rate": 3e-4,
    "critic_rate": 1e-3,
    "gamma": 0.9,
    "tau": 0.01,
    "reward_scale": 50.0,  # costs of a patch and an interval to order one
    "reward_clip": 4.0,
}


def spec() -> AgentSpec:
    return AgentSpec(
        observation_size=3,
        action_size=1,
        action_low=-np.ones(1),
        action_high=np.ones(1),
        positions=POSITIONS[:, None],
        spacing=0.2,
        mu_low=np.zeros(1),
        mu_high=np.full(1, 0.5),
        own_features=(1,),
        stencil=partial(grid_stencil, (AGENTS,)),
        grid=(AGENTS,),
    )


def _interpolation(points: np.ndarray) -> np.ndarray:
    """(len(points), AGENTS) linear interpolation of the amplitudes, constant outside."""
    return np.stack([np.interp(points, POSITIONS, row) for row in np.eye(AGENTS)], axis=1)


AT_FACES, AT_CELLS = _interpolation(CENTRES[:-1] + 0.5 * H), _interpolation(CENTRES)


def bump(centre: np.ndarray) -> np.ndarray:
    """(B, CELLS) density of unit mass (up to its tails) about each centre (B,)."""
    return np.sqrt(10 / np.pi) * np.exp(-10.0 * (CENTRES - centre[:, None]) ** 2)


def patches(density: np.ndarray) -> np.ndarray:
    return density.reshape(len(density), AGENTS, -1).mean(axis=2)


class StandIn:
    """B episodes at once; ``parameters`` (B, 2) hold c0 and c_d, and mu is c_d."""

    def reset(self, parameters: np.ndarray) -> np.ndarray:
        self.y, self.target = bump(parameters[:, 0]), bump(parameters[:, 1])
        return self.observe()

    def observe(self) -> np.ndarray:
        """(B, AGENTS, 3) means of the left, the own and the right patch; zero outside."""
        padded = np.pad(patches(self.y), ((0, 0), (1, 1)))
        return np.stack([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], axis=2)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Actions (B, AGENTS) -> next observations and costs (B, AGENTS) of the interval."""
        left, right = self._fluxes(actions)
        control = 0.5 * BETA * patches((actions @ AT_CELLS.T) ** 2) * 0.2
        slopes = 0.5 * BETA_G * (np.diff(actions, axis=1) / 0.2) ** 2 * 0.2
        control[:, :-1] += 0.5 * slopes
        control[:, 1:] += 0.5 * slopes
        costs = control * DT * SUBSTEPS
        for _ in range(SUBSTEPS):
            flux = left * self.y[:, :-1] - right * self.y[:, 1:]
            self.y[:, :-1] -= DT / H * flux
            self.y[:, 1:] += DT / H * flux
            costs += DT * 0.5 * patches((self.y - self.target) ** 2) * 0.2
            costs[:, 0] += DT * 0.5 * self.y[:, 0] ** 2
            costs[:, -1] += DT * 0.5 * self.y[:, -1] ** 2
        return self.observe(), costs

    @staticmethod
    def _fluxes(actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scharfetter-Gummel: flux = left * y_left - right * y_right at each inner face."""
        peclet = actions @ AT_FACES.T * H / NU
        near_zero = np.abs(peclet) < 1e-8
        safe = np.where(near_zero, 1.0, peclet)
        right = NU / H * np.where(near_zero, 1.0, safe / np.expm1(np.clip(safe, -500, 500)))
        return right + NU / H * peclet, right


def draw_parameters(generator: np.random.Generator, count: int) -> np.ndarray:
    return generator.uniform([-0.5, 0.0], [0.0, 0.5], size=(count, 2))


def evaluate(agent: TD3 | None, parameters: np.ndarray) -> np.ndarray:
    """(B,) costs of the averaged policy, or of doing nothing."""
    world, total = StandIn(), np.zeros(len(parameters))
    observations = world.reset(parameters)
    for _ in range(STEPS):
        actions = np.zeros((len(parameters), AGENTS))
        if agent is not None:
            pairs = zip(observations, parameters, strict=True)
            actions = np.stack([agent.act(y, p[1:])[:, 0] for y, p in pairs])
        observations, costs = world.step(actions)
        total += costs.sum(axis=1)
    return total


def train(
    config: AgentConfig, seed: int, episodes: int, random_episodes: int = 25, scale: float = 0.5
) -> TD3:
    """Collect and update, one update per control step after the random episodes."""
    agent, world = TD3(spec(), config, seed), StandIn()
    replay = Replay(agent.spec, config.replay_episodes, STEPS, seed)
    generator = np.random.default_rng(1000 + seed)
    for episode in range(episodes):
        parameters = draw_parameters(generator, 1)
        mu = parameters[0, 1:]
        observations = world.reset(parameters)
        start, steps = (mu, patches(world.target)[0][:, None], observations[0]), []
        agent.start_episode()
        for _ in range(STEPS):
            warm = episode < random_episodes
            actions = agent.random_actions(scale) if warm else agent.explore(observations[0], mu)
            observations, costs = world.step(actions[None, :, 0])
            steps.append((actions, -costs[0], observations[0], False))
            if not warm:
                agent.update(replay)
        replay.append(Experience.of_steps(*start, steps))
    return agent
