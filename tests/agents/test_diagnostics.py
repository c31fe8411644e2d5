"""Diagnostics against explicit Jacobians, brute force and cases with known answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from test_networks import EPISODES, STEPS, draw
from torch import Tensor

from hypemarl.agents import diagnostics
from hypemarl.agents.hypernetwork import KINDS
from hypemarl.agents.policy import Actor, Probe
from hypemarl.algorithms.td3.agent import TD3
from hypemarl.algorithms.td3.credit import masked_mean
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec

SCHEMES = [
    *({"hypernetwork": kind} for kind in KINDS),
    {"encoder": "learned"},
    {"scheme": "marl"},
    {"scheme": "fups-id"},
    {"scheme": "fups-id", "encoder": "learned"},
    {"scheme": "fups-id-no-state"},
    {"scheme": "nops"},
]


def make_actor(spec: AgentSpec, **changes: object) -> Actor:
    small = {"encoding_size": 8, "embedding_size": 6, "hyper_width": 6, "actor_hidden": (4,)}
    config = AgentConfig(**(small | changes))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    actor = Actor(spec, config, generator)
    with torch.no_grad():  # away from the zeros of the start
        for parameter in actor.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return actor


def make_probe(spec: AgentSpec) -> Probe:
    inputs, mu = draw(spec)
    generator = torch.Generator().manual_seed(2)
    gradient = torch.randn((*inputs.shape[:3], 2), generator=generator)
    return Probe(inputs, mu, torch.ones(EPISODES, STEPS), gradient)


def whole_gradient(actor: Actor, probe: Probe, rows: slice = slice(None)) -> Tensor:
    """grad_psi of sum <dJ/da, a> over these agents, by autograd through the network itself."""
    actions = actor(probe.observations, probe.mu)
    value = (actions * probe.gradient)[:, rows].sum()
    parts = torch.autograd.grad(value, list(actor.parameters()), materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def assert_equal(ours: Tensor, expected: Tensor) -> None:
    assert expected.norm() > 0
    assert (ours - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("changes", SCHEMES, ids=str)
def test_gradients_decouple(spec: AgentSpec, changes: dict) -> None:
    """sum_i J_i^T Z_i, both factors written out, is the autograd gradient."""
    actor, probe = make_actor(spec, **changes), make_probe(spec)
    weights = actor.network.generated(probe.mu, trained=True)  # theta (E, n, p)
    terms = diagnostics.observation_terms(actor, probe, weights)  # Z (E, n, p)
    product: Tensor | float = 0.0
    for e, i in ((e, i) for e in range(EPISODES) for i in range(0, spec.n_agents, 4)):
        rows = [
            diagnostics._pull_back(actor, entry[None], torch.ones(1)) for entry in weights[e, i]
        ]
        jacobian = torch.stack(rows)  # J_i (p, P)
        product = product + jacobian.T @ terms[e, i]
    assert isinstance(product, Tensor)
    assert_equal(product, whole_gradient(actor, probe, slice(0, None, 4)))


@pytest.mark.parametrize("changes", SCHEMES, ids=str)
def test_agents_parts_sum_to_the_gradient(spec: AgentSpec, changes: dict) -> None:
    actor, probe = make_actor(spec, **changes), make_probe(spec)
    parts = diagnostics.agent_gradients(actor, probe, spec.n_agents)
    assert_equal(parts.sum(dim=0), whole_gradient(actor, probe))
    assert_equal(parts[3], whole_gradient(actor, probe, slice(3, 4)))
    assert all(parameter.grad is None for parameter in actor.parameters())


def test_conflict_of_known_gradients() -> None:
    along, against, across = [1.0, 0.0], [-2.0, 0.0], [0.0, 3.0]
    found = diagnostics.gradient_conflict(torch.tensor([along, against, across, [0.0, 0.0]]))
    assert found["conflict_cosine"] == pytest.approx(-1 / 3)
    assert found["conflict_negative"] == pytest.approx(1 / 3)
    alone = diagnostics.gradient_conflict(torch.tensor([along]))
    assert set(alone.values()) == {0.0}


def test_agents_without_shared_parameters_do_not_conflict(spec: AgentSpec) -> None:
    probe = make_probe(spec)
    apart = diagnostics.agent_gradients(make_actor(spec, scheme="nops"), probe)
    assert diagnostics.gradient_conflict(apart)["conflict_cosine"] == 0.0
    together = diagnostics.agent_gradients(make_actor(spec, scheme="marl"), probe)
    assert diagnostics.gradient_conflict(together)["conflict_negative"] > 0.2


@pytest.mark.parametrize("changes", SCHEMES, ids=str)
def test_variance_is_that_of_single_steps(spec: AgentSpec, changes: dict) -> None:
    """Trace of the covariance of per-step gradients, pooled over episodes, by brute force."""
    actor, probe = make_actor(spec, **changes), make_probe(spec)
    found = diagnostics.gradient_variance(actor, probe, STEPS)
    squares, everything = 0.0, []
    for e in range(EPISODES):
        steps = []
        for t in range(STEPS):
            one = Probe(*(part[e : e + 1] for part in probe))  # type: ignore[index]
            alone = one._replace(gradient=torch.zeros_like(one.gradient))
            alone.gradient[:, :, t] = one.gradient[:, :, t]
            steps.append(whole_gradient(actor, alone))
        gradients = torch.stack(steps)
        squares += float((gradients - gradients.mean(dim=0)).square().sum())
        everything.append(gradients)
    variance = squares / (EPISODES * (STEPS - 1))
    assert found["gradient_variance"] == pytest.approx(variance, rel=1e-4)
    mean = torch.cat(everything).mean(dim=0)
    noise = variance / float(mean.square().sum())
    assert found["gradient_noise"] == pytest.approx(noise, rel=1e-3)


@pytest.mark.parametrize("changes", [{"scheme": "nops"}, {"scheme": "marl"}], ids=str)
def test_split_of_the_variance_where_jacobians_are_known(spec: AgentSpec, changes: dict) -> None:
    """One network each: nothing meets. One for all: d theta / d psi is the identity, gain 1."""
    probe = make_probe(spec)
    probe = probe._replace(mu=torch.zeros_like(probe.mu))  # no inputs besides the observation
    found = diagnostics.gradient_variance(make_actor(spec, **changes), probe)
    if changes["scheme"] == "nops":
        assert found["cross_agent_share"] == pytest.approx(0.0, abs=1e-5)
    else:
        assert found["jacobian_gain"] == pytest.approx(1.0, rel=0.3)  # signs are an estimate
    whole = found["jacobian_gain"] * found["observation_variance"]
    assert whole == pytest.approx((1 - found["cross_agent_share"]) * found["gradient_variance"])


def test_episodes_of_one_step_have_no_variance(spec: AgentSpec) -> None:
    probe = make_probe(spec)
    mask = torch.zeros(EPISODES, STEPS)
    mask[:, 0] = 1
    found = diagnostics.gradient_variance(make_actor(spec), probe._replace(mask=mask))
    assert set(found.values()) == {0.0}


def test_diversity_is_the_mean_distance_of_actions(spec: AgentSpec) -> None:
    actor, probe = make_actor(spec, scheme="nops"), make_probe(spec)
    probe = Probe(probe.observations[:1, :1, :1], probe.mu[:1], torch.ones(1, 1))
    probe = probe._replace(observations=probe.observations.expand(1, spec.n_agents, 1, 5))
    actions = actor(probe.observations, probe.mu)[0, :, 0].detach().numpy()
    pairs = [np.linalg.norm(a - b) for k, a in enumerate(actions) for b in actions[:k]]
    found = diagnostics.behavioural_diversity(actor, probe)
    assert found["diversity"] == pytest.approx(np.mean(pairs), rel=1e-4)
    root = np.sqrt((actions**2).sum(axis=1).mean())
    assert found["diversity_relative"] == pytest.approx(np.mean(pairs) / root, rel=1e-4)
    assert found["observation_spread"] == pytest.approx(0.0, abs=1e-6)  # they see one observation
    distances = diagnostics.policy_distances(actor, probe).numpy()
    expected = np.linalg.norm(actions[:, None] - actions[None], axis=2)
    np.testing.assert_allclose(distances, expected, atol=1e-5)


def test_spread_is_the_mean_distance_of_an_agents_actions(spec: AgentSpec) -> None:
    actor, probe = make_actor(spec, scheme="marl"), make_probe(spec)
    seen = probe.observations[0].reshape(-1, probe.observations.shape[-1])
    with torch.no_grad():
        actions = actor(seen.expand(1, spec.n_agents, *seen.shape), probe.mu[:1])[0, 0].numpy()
    pairs = [np.linalg.norm(a - b) for k, a in enumerate(actions) for b in actions[:k]]
    one = Probe(probe.observations[:1], probe.mu[:1], probe.mask[:1])
    found = diagnostics.behavioural_diversity(actor, one, most=len(seen))
    assert found["observation_spread"] == pytest.approx(np.mean(pairs), rel=1e-4)


@pytest.mark.parametrize("changes", SCHEMES, ids=str)
def test_only_what_knows_its_place_is_diverse(spec: AgentSpec, changes: dict) -> None:
    found = diagnostics.describe(make_actor(spec, **changes), make_probe(spec))
    alike = changes.get("scheme") == "marl"
    assert (found["diversity"] < 1e-6) == alike
    assert (found["weight_distance"] < 1e-6) == alike
    assert ("code_distance" in found) == (changes.get("scheme") not in ("marl", "nops"))
    assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize("credit", ["local", "cooperative", "central", "adjoint"])
def test_the_probe_of_td3_is_its_actor_gradient(
    spec: AgentSpec, fill: Callable, credit: str
) -> None:
    """Along dQ/da of the probe the actor's parameters get the gradient of its own objective."""
    config = AgentConfig(credit=credit, time_left=True, cloning=float(credit == "adjoint"))  # type: ignore[arg-type]
    agent, replay = TD3(spec, config, seed=0), fill(spec, (4, 2, 4))
    before = replay.generator.bit_generator.state
    sample = replay.latest(2)
    assert replay.generator.bit_generator.state == before
    np.testing.assert_array_equal(sample.mask.sum(axis=1), [4, 2])  # the latest first
    probe = agent.probe(sample)
    batch = {name: agent._tensor(array) for name, array in sample._asdict().items()}
    features = agent._features(batch, batch["observations"], batch["remaining"])
    actions = agent.actor(batch["observations"], probe.mu)
    values = agent.first_critic(features, actions, probe.mu)[0]
    masked_mean(values, batch["mask"]).backward()
    expected = torch.cat([p.grad.flatten() for p in agent.actor.parameters()])
    agent.actor.zero_grad()
    parts = diagnostics.agent_gradients(agent.actor, probe, spec.n_agents)
    assert_equal(parts.sum(dim=0), expected)


def test_an_empty_replay_has_no_latest_episodes(spec: AgentSpec, fill: Callable) -> None:
    assert fill(spec, ()).latest(3) is None
