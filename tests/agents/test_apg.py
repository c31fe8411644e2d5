from __future__ import annotations

import copy
import dataclasses
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from hypemarl.algorithms.apg import APGOptions
from hypemarl.algorithms.apg.agent import APG
from hypemarl.config import AgentConfig
from hypemarl.coupling.neighbourhood import grid_stencil
from hypemarl.coupling.spec import AgentSpec

SMALL = AgentConfig(
    encoding_size=8,
    hyper_width=16,
    actor_hidden=(8,),
    critic_hidden=(8,),
    algorithms={"apg": APGOptions(rate=1e-2, rate_end=0.1)},
)


@pytest.fixture
def spec() -> AgentSpec:
    return AgentSpec(
        observation_size=3,
        action_size=2,
        action_low=np.array([-1.0, 0.0]),
        action_high=np.array([1.0, 4.0]),
        positions=np.linspace(-0.75, 0.75, 4)[:, None],
        spacing=0.5,
        mu_low=np.array([-0.5]),
        mu_high=np.array([0.5]),
        own_features=(1,),
        stencil=partial(grid_stencil, (4,)),
        grid=(4,),
    )


def make(spec: AgentSpec, **changes: Any) -> APG:
    common = {name: changes.pop(name) for name in ("scheme", "output_gain") if name in changes}
    options = dataclasses.replace(SMALL.of(APGOptions), **changes)
    config = dataclasses.replace(SMALL, **common, algorithms={"apg": options})
    return APG(spec, config, seed=0)


def flat(agent: APG) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in agent.actor.parameters()])


def seen(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(4, 3)))


@pytest.mark.parametrize("scheme", ["hypemarl", "marl", "fups-id", "nops"])
def test_the_policy_in_a_graph_acts_as_the_agent_does(spec: AgentSpec, scheme: str) -> None:
    agent, mu = make(spec, scheme=scheme, output_gain=1.0), np.array([0.3])
    policy = agent.policy(mu)
    for seed in range(2):  # made once, called often
        acted = agent.act(seen(seed).numpy(), mu, averaged=False)
        np.testing.assert_allclose(policy(seen(seed)).detach(), acted, atol=1e-6)
    assert acted.min() >= -1.0
    assert acted.max() <= 4.0


def test_noise_hangs_on_the_number_of_the_episode_only(spec: AgentSpec) -> None:
    agent, mu = make(spec, noise=0.2), np.array([0.3])
    clean = make(spec).policy(mu)(seen()).detach()

    def disturbed(episode: int) -> torch.Tensor:
        return agent.policy(mu, agent.noise(episode))(seen()).detach()

    assert make(spec).noise(1) is None
    assert torch.equal(disturbed(3), disturbed(3))
    assert not torch.equal(disturbed(3), disturbed(4))
    samples = torch.stack([disturbed(k) - clean for k in range(200)])
    # 0.2 of half the range of each component
    np.testing.assert_allclose(samples.std(dim=(0, 1)), [0.2, 0.4], rtol=0.1)


def test_an_update_takes_the_mean_gradient_of_a_batch(spec: AgentSpec) -> None:
    one, two = make(spec), make(spec, batch=2)
    gradients = np.random.default_rng(0).normal(size=(2, len(flat(one)))).astype(np.float32)
    assert one.take(gradients.mean(axis=0))
    assert not two.take(gradients[0])
    assert two.take(gradients[1])
    one.update(0.0)
    two.update(0.0)
    torch.testing.assert_close(flat(one), flat(two))
    assert not two.take(gradients[0])


def test_gradients_are_clipped_and_those_that_are_no_numbers_refused(spec: AgentSpec) -> None:
    agent = make(spec)
    big = np.full(len(flat(agent)), 100.0, dtype=np.float32)
    agent.take(big)
    assert agent.update(0.0)["actor_gradient"] == pytest.approx(100.0 * len(big) ** 0.5, rel=1e-4)
    stored = torch.cat([p.grad.flatten() for p in agent.actor.parameters() if p.grad is not None])
    assert float(stored.norm()) == pytest.approx(1.0, rel=1e-4)
    before = flat(agent)
    agent.take(np.full(len(big), np.nan, dtype=np.float32))
    with pytest.raises(FloatingPointError, match="update 2.*state_clip"):
        agent.update(0.0)
    assert torch.equal(flat(agent), before)


def test_the_rate_falls_as_half_a_cosine(spec: AgentSpec) -> None:
    agent = make(spec)

    def rate(share: float) -> float:
        agent.take(np.ones(len(flat(agent)), dtype=np.float32))
        return agent.update(share)["actor_rate"]

    assert [rate(s) for s in (0.0, 0.5, 1.0)] == pytest.approx([1e-2, 5.5e-3, 1e-3])


def test_a_gradient_is_that_of_the_loss(spec: AgentSpec) -> None:
    agent = make(spec)
    gradient = agent.gradient(agent.policy(np.array([0.3]))(seen()).square().sum())
    loss = agent.policy(np.array([0.3]))(seen()).square().sum()
    loss.backward()
    stored = [p.grad.flatten() for p in agent.actor.parameters() if p.grad is not None]
    np.testing.assert_allclose(gradient, torch.cat(stored), rtol=1e-6)


def test_the_value_learns_the_cost_to_go(spec: AgentSpec) -> None:
    """Costs of 1 + mu in each of 5 steps: what is to come is (1 + mu) times the steps left."""
    agent = make(spec, value_rate=3e-3)
    generator = np.random.default_rng(0)
    for _ in range(60):
        mu = generator.uniform(-0.5, 0.5, 1)
        observations = generator.normal(size=(6, 4, 3))
        agent.learn_value(observations, mu, np.full(5, 1.0 + mu[0]))
    with torch.no_grad():
        for mu, left in ((-0.4, 0.8), (0.4, 0.4)):
            expected = 5 * left * (1 + mu)
            found = float(agent.cost_to_go(seen(), np.array([mu]), left))
            assert found == pytest.approx(expected, abs=0.5)


def test_its_state_decides_all_that_follows(spec: AgentSpec) -> None:
    def learn(agent: APG, start: int) -> None:
        generator = np.random.default_rng(start)
        for k in range(3):
            gradient = generator.normal(size=len(flat(agent))).astype(np.float32)
            if agent.take(gradient):
                agent.update(0.1 * (start + k))
            agent.learn_value(generator.normal(size=(3, 4, 3)), np.zeros(1), np.ones(2))

    agent = make(spec, batch=2)
    learn(agent, 0)
    other = make(spec, batch=2)
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    learn(agent, 3)
    learn(other, 3)
    mu = np.array([0.1])
    assert torch.equal(flat(agent), flat(other))
    np.testing.assert_array_equal(agent.act(seen().numpy(), mu), other.act(seen().numpy(), mu))
    assert torch.equal(agent.cost_to_go(seen(), mu, 0.5), other.cost_to_go(seen(), mu, 0.5))
