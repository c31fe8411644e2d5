from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hypemarl import config as configuration
from hypemarl import envs
from hypemarl.algorithms.apg.agent import APG
from hypemarl.config import EnvConfig, MeshConfig
from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.optimal import bridge
from hypemarl.optimal.taped import TapedPlant
from hypemarl.optimal.trajectory import EpisodeAdjoint
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.systems.density.options import DensityOptions

ENV = EnvConfig(
    mesh=MeshConfig(element_size=0.15),
    agents=(3, 3),
    horizon=0.3,
    control_steps=3,
    options=DensityOptions(beta_g=0.05),
)
PARAMETERS = np.array([-0.3, 0.2, 0.25, -0.1])


@pytest.fixture(scope="module")
def env() -> Any:
    return envs.make(ENV)


@pytest.fixture
def taped(env: Any) -> TapedPlant:
    return TapedPlant(require_adjoint(env.plant))


def run(taped: TapedPlant, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All observations and cost shares of an episode under actions (steps, n, m)."""
    taped.plant.reset(PARAMETERS)
    state, seen, shares = bridge.begin(taped), [], []
    for row in actions:
        state, observations, share = bridge.step(taped, state, row)
        seen.append(observations)
        shares.append(share)
    return torch.stack(seen), torch.stack(shares)


def drawn(seed: int, env: Any, size: float = 0.6) -> torch.Tensor:
    shape = (env.control_steps, env.n_agents, env.action_size)
    return torch.from_numpy(size * np.random.default_rng(seed).uniform(-1, 1, shape))


def test_derivatives_of_any_result_with_respect_to_all_actions(env: Any, taped: TapedPlant) -> None:
    """Central differences of a random functional of all observations and shares."""
    actions, direction = drawn(0, env).requires_grad_(), drawn(1, env)
    generator = torch.Generator().manual_seed(0)
    seen, shares = run(taped, actions)
    weights = [torch.randn(r.shape, generator=generator, dtype=r.dtype) for r in (seen, shares)]

    def functional(rows: torch.Tensor) -> torch.Tensor:
        return sum((w * r).sum() for w, r in zip(weights, run(taped, rows), strict=True))

    functional(actions).backward()
    assert actions.grad is not None
    h = 1e-5
    with torch.no_grad():
        slope = (functional(actions + h * direction) - functional(actions - h * direction)) / (
            2 * h
        )
    assert float((actions.grad * direction).sum()) == pytest.approx(float(slope), rel=1e-6)


def test_the_cost_and_its_gradient_are_those_of_the_episode(env: Any, taped: TapedPlant) -> None:
    actions = drawn(0, env).requires_grad_()
    cost = run(taped, actions)[1].sum()
    cost.backward()
    known = EpisodeAdjoint(taped.adjoint).gradient(PARAMETERS, actions.detach().numpy())
    assert float(cost.detach()) == pytest.approx(known.cost, rel=1e-14)
    np.testing.assert_allclose(actions.grad, known.gradient, rtol=1e-12, atol=1e-14)


def episode_cost(agent: APG, env: Any, taped: TapedPlant) -> torch.Tensor:
    """J of the closed loop: observations decide the actions."""
    episode = env.reset_arrays(PARAMETERS)
    total = torch.zeros((), dtype=torch.float64)
    policy = agent.policy(episode.mu)
    for interval in bridge.rollout(taped, policy, episode.observations, env.control_steps):
        total = total + interval.shares.sum()
    return total


@pytest.mark.parametrize("scheme", ["hypemarl", "marl", "fups-id", "nops"])
def test_exact_gradient_of_the_cost_in_the_policy_parameters(
    scheme: str, env: Any, taped: TapedPlant
) -> None:
    settings = ["agent.encoding_size=8", "agent.hyper_width=8", "agent.actor_hidden=[6]"]
    config = configuration.load("density-vacuum", [f"agent.scheme={scheme}", *settings])
    agent = APG(env.agent_spec, config.agent, seed=0)
    agent.actor.double()
    parameters = list(agent.actor.parameters())
    gradient = agent.gradient(episode_cost(agent, env, taped))
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]

    def moved(h: float) -> float:
        with torch.no_grad():
            torch._foreach_add_(parameters, direction, alpha=h)
            cost = float(episode_cost(agent, env, taped))
            torch._foreach_add_(parameters, direction, alpha=-h)
        return cost

    h = 1e-6
    slope = (moved(h) - moved(-h)) / (2 * h)
    along = float(gradient @ torch.cat([d.flatten() for d in direction]).numpy())
    assert abs(slope) > 1e-3
    assert along == pytest.approx(slope, rel=1e-5)


def test_a_clip_bounds_the_sensitivity_of_the_state(env: Any) -> None:
    """With next to none let through, only the interval's own cost moves an action."""
    actions = drawn(0, env).requires_grad_()
    run(TapedPlant(require_adjoint(env.plant), state_clip=1e-12), actions)[1].sum().backward()
    own = drawn(0, env).requires_grad_()
    taped = TapedPlant(require_adjoint(env.plant))
    first = run(taped, own)[1][0].sum()
    first.backward()
    assert actions.grad is not None
    assert own.grad is not None
    np.testing.assert_allclose(actions.grad[0], own.grad[0], atol=1e-9)
    free = drawn(0, env).requires_grad_()
    run(taped, free)[1].sum().backward()
    assert free.grad is not None
    assert float((free.grad[0] - own.grad[0]).abs().max()) > 1e-3


def test_an_error_of_the_leading_rank_leaves_no_tapes(env: Any, taped: TapedPlant) -> None:
    def broken() -> None:
        run(taped, drawn(0, env))
        raise SolverDiverged("too fast")

    with pytest.raises(SolverDiverged, match="too fast"):
        taped.lead(broken)
    assert not taped._tapes
    assert taped.lead(lambda: 3) == 3
