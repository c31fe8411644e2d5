"""Encoders, kinds of hypernetworks, and FuPS+ID without state: starts, sizes, what each knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from test_networks import EPISODES, STEPS, build, draw, one_by_one
from torch import Tensor
from torch.nn import functional

from hypemarl import config as configuration
from hypemarl.agents.encoding import agent_codes
from hypemarl.agents.hypernetwork import KINDS
from hypemarl.agents.networks import HyperScheme, first_copy
from hypemarl.agents.policy import Actor
from hypemarl.agents.schemes import Plan, make_network
from hypemarl.algorithms.td3.agent import TD3
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec

COMPACT = [kind for kind in KINDS if kind != "mlp"]
VARIANTS = [
    *({"hypernetwork": kind, "hyper_chunk": 7, "hyper_rank": 2} for kind in COMPACT),
    {"hypernetwork": "chunked", "hyper_depth": 2},
    {"encoder": "learned", "embedding_size": 6},
    {"encoder": "one-hot", "hypernetwork": "linear"},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_every_variant_equals_a_loop_over_samples(spec: AgentSpec, changes: dict) -> None:
    network, (inputs, mu) = build(spec, "hypemarl", **changes), draw(spec)
    outputs, flat = network(inputs, mu), network.generated(mu)
    assert outputs.shape == (2, EPISODES, spec.n_agents, STEPS, 2)
    for e, i, t in np.ndindex(EPISODES, spec.n_agents, STEPS):
        torch.testing.assert_close(outputs[0, e, i, t], one_by_one(inputs[e, i, t], flat[e, i]))
    torch.testing.assert_close(network.at(mu)(inputs), outputs)
    torch.testing.assert_close(network.run_generated(flat, inputs), outputs[0])


def hidden_layers(hyper: Any, before: Tensor) -> Tensor:
    """Copy 0: LayerNorm and ReLU of the first, and those after it, for one context (width,)."""
    for index in range(len(hyper.offset)):
        if index:
            before = before @ hyper.hidden[index - 1][0] + hyper.offset[index][0, 0]
        shape, gain, bias = before.shape, hyper.norm_gain[index][0, 0], hyper.norm_bias[index][0, 0]
        before = functional.layer_norm(before, shape, gain, bias).relu()
    return before


def linear_weights(hyper: Any, place: Tensor, mu: Tensor) -> list[Tensor]:
    flat = []
    for index, (fan_in, fan_out) in enumerate(hyper.shapes):
        matrix = torch.cat([hyper.from_position[index][0], hyper.from_mu[index][0]])
        raw = torch.cat([place, mu]) @ matrix + hyper.offset[index][0, 0]
        size = fan_in * fan_out
        flat += [raw[:size] * hyper.scale[index][0, 0], raw[size:]]
    return flat


def chunked_weights(hyper: Any, place: Tensor, mu: Tensor) -> list[Tensor]:
    pieces, context = [], place @ hyper.from_position[0] + mu @ hyper.from_mu[0]
    for piece in hyper.pieces[0]:
        before = context + hyper.offset[0][0, 0] + piece @ hyper.from_piece[0]
        pieces.append(hidden_layers(hyper, before) @ hyper.head[0] + hyper.head_bias[0, 0])
    raw, flat, start = torch.cat(pieces), [], 0
    for index, (fan_in, fan_out) in enumerate(hyper.shapes):
        middle, end = start + fan_in * fan_out, start + (fan_in + 1) * fan_out
        flat.append(raw[start:middle] * hyper.scale[index][0, 0])
        flat.append(raw[middle:end] * hyper.bias_scale[index][0, 0])
        start = end
    return flat


def low_rank_weights(hyper: Any, place: Tensor, mu: Tensor) -> list[Tensor]:
    context = place @ hyper.from_position[0] + mu @ hyper.from_mu[0] + hyper.offset[0][0, 0]
    features, flat = hidden_layers(hyper, context), []
    for index, (fan_in, fan_out) in enumerate(hyper.shapes):
        made = features @ hyper.heads[index][0] + hyper.head_bias[index][0, 0]
        shared, base = hyper.shared[index][0], hyper.base[index][0]
        if fan_in < fan_out:
            both = base + made.view(fan_in + 1, -1) @ shared
        else:
            both = base + shared @ made.view(-1, fan_out)
        assert torch.linalg.matrix_rank(both - base) <= 2
        flat += [(both[:-1] * hyper.scale[index][0, 0]).flatten(), both[-1]]
    return flat


@pytest.mark.parametrize(
    ("kind", "by_the_book"),
    [("linear", linear_weights), ("chunked", chunked_weights), ("low-rank", low_rank_weights)],
)
def test_weights_are_those_of_the_formula(
    spec: AgentSpec, kind: str, by_the_book: Callable[..., list[Tensor]]
) -> None:
    """One context at a time, from the concatenated context where the code adds two parts."""
    changes = {"hypernetwork": kind, "hyper_chunk": 7, "hyper_rank": 2}
    network, (_, mu) = build(spec, "hypemarl", **changes), draw(spec)
    assert isinstance(network, HyperScheme)
    made, codes = network.generated(mu), network.codes()
    for e, i in np.ndindex(EPISODES, spec.n_agents):
        expected = torch.cat(by_the_book(network.hypernetwork, codes[i], mu[e]))
        torch.testing.assert_close(made[e, i], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scheme", ["hypemarl", "fups-id"])
@pytest.mark.parametrize("encoder", ["learned", "one-hot"])
def test_first_gives_no_gradient_to_trained_codes(
    spec: AgentSpec, scheme: str, encoder: str
) -> None:
    network, (inputs, mu) = build(spec, scheme, encoder=encoder), draw(spec)
    inputs.requires_grad_()
    values = first_copy(network)(inputs, mu)
    torch.testing.assert_close(values, network(inputs, mu)[:1])
    values.sum().backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    network(inputs, mu).sum().backward()
    names = {
        name.rpartition(".")[2] for name, p in network.named_parameters() if p.grad is not None
    }
    assert ("encoding" in names) == (encoder == "learned")


@pytest.mark.parametrize("kind", COMPACT)
def test_each_context_decides_its_weights_alone(spec: AgentSpec, kind: str) -> None:
    """Weights of all (episode, agent) at once equal those of each episode made alone."""
    network, (_, mu) = build(spec, "hypemarl", hypernetwork=kind), draw(spec)
    together = network.generated(mu)
    for e in range(EPISODES):
        torch.testing.assert_close(together[e], network.generated(mu[e : e + 1])[0])
    assert (together[0] - together[1]).abs().max() > 1e-3  # mu
    assert (together[:, 0] - together[:, 1]).abs().max() > 1e-3  # place


@pytest.mark.parametrize("kind", COMPACT)
@pytest.mark.parametrize("encoder", ["sinusoidal", "learned", "one-hot"])
def test_weights_start_with_fan_in_variance(
    build_spec: Callable[..., AgentSpec], kind: str, encoder: str
) -> None:
    spec = build_spec((8, 8), observation_size=9)
    settings = {"encoder": encoder, "encoding_size": 64, "encoding_frequency": 1.5}
    config = AgentConfig(hypernetwork=kind, **settings)  # type: ignore[arg-type]
    variances = []
    for seed in range(8):  # few generated numbers: a single start varies
        generator = torch.Generator().manual_seed(seed)
        network = make_network(Plan(spec, config, (9, 64, 2), 1, 0.1, generator))
        mu = torch.rand((8, 2), generator=generator) * 2 - 1
        layers = network.hypernetwork(mu)
        variances.append([weight.var().item() for weight, _ in layers])
        assert all(bias.abs().max() == 0 for _, bias in layers)
    found = np.mean(variances, axis=0) * np.array([9, 64 / 0.1**2])
    np.testing.assert_allclose(found, 1.0, atol=0.3)


@pytest.mark.parametrize("kind", list(KINDS))
def test_first_policies_are_near_zero_control(spec: AgentSpec, kind: str) -> None:
    actor = Actor(spec, AgentConfig(hypernetwork=kind), torch.Generator().manual_seed(0))
    inputs, mu = draw(spec)
    actions = actor(inputs, mu)
    assert 1e-3 < actions.square().mean().sqrt() < 0.2


@pytest.mark.parametrize("encoder", ["sinusoidal", "learned", "one-hot"])
@pytest.mark.parametrize("size", [8, 40])
def test_codes_are_of_order_one_and_differ(spec: AgentSpec, encoder: str, size: int) -> None:
    config = AgentConfig(encoder=encoder, embedding_size=size, encoding_size=size)  # type: ignore[arg-type]
    codes = agent_codes(spec, config, 2, torch.Generator().manual_seed(0)).detach()
    assert codes.square().mean().item() == pytest.approx(1.0, rel=1e-4)
    assert torch.pdist(codes.reshape(-1, *codes.shape[-2:])[0]).min() > 0.1
    if encoder == "learned":
        product = codes[0] @ codes[0].T if size > 12 else codes[0].T @ codes[0]
        torch.testing.assert_close(product, max(12, size) * torch.eye(len(product)))
        assert not torch.equal(codes[0], codes[1])


def test_default_networks_draw_what_they_always_did(spec: AgentSpec) -> None:
    """The first outputs of the version before kinds and encoders: its checkpoints go on."""
    expected = {
        "hypemarl": [0.009408177, 0.0251198, 0.005645625],
        "fups-id": [0.006068662, 0.0006804877, -0.01652717],
        "nops": [-0.03443297, 0.0007038987, -0.02085993],
        "marl": [-0.04504087, -0.05782035, -0.004009719],
    }
    for scheme, values in expected.items():
        generator = torch.Generator().manual_seed(5)
        config = AgentConfig(scheme=scheme, encoding_size=16, hyper_width=24)  # type: ignore[arg-type]
        network = make_network(Plan(spec, config, (5, 8, 6, 2), 2, 0.1, generator))
        inputs = torch.randn(3, 12, 4, 5, generator=generator)
        outputs = network(inputs, torch.rand(3, 2, generator=generator) * 2 - 1)
        np.testing.assert_allclose(outputs.flatten()[:3].tolist(), values, rtol=1e-5)


def test_policies_without_state_see_identity_and_mu_alone(spec: AgentSpec) -> None:
    config = AgentConfig(scheme="fups-id-no-state", encoding_size=16)
    agent = TD3(spec, config, seed=0)
    inputs, mu = draw(spec)
    actions = agent.actor(inputs, mu)
    assert actions.shape == (EPISODES, spec.n_agents, STEPS, 2)
    torch.testing.assert_close(actions, agent.actor(torch.randn_like(inputs), mu))
    assert (actions[:, 0] - actions[:, 1]).abs().max() > 1e-3
    assert (actions[0] - actions[1]).abs().max() > 1e-3
    torch.testing.assert_close(agent.actor.at(mu)(inputs), actions)
    features = agent.critic.observe(inputs, torch.zeros(EPISODES, 12, 1))
    values = [agent.critic(f, actions, mu) for f in (features, features + 1)]
    assert (values[0] - values[1]).abs().max() > 1e-2


@pytest.mark.parametrize("kind", ["chunked", "low-rank"])
@pytest.mark.parametrize(
    ("scenario", "grid", "sizes"),
    [
        ("density-1d", (10,), (3, 1, 1)),
        ("density-vacuum", (8, 8), (9, 2, 2)),
        ("density-fluid", (8, 8), (9, 2, 3)),
        ("flow-cylinder", (16,), (9, 1, 1)),
    ],
)
def test_compact_kinds_have_a_fifth_of_the_parameters(
    scenario: str, grid: tuple[int, ...], sizes: tuple[int, int, int], kind: str
) -> None:
    def count(kind: str) -> int:
        agent = configuration.load(scenario, [f"agent.hypernetwork={kind}"]).agent
        return sum(TD3(spec, agent, 0).parameter_count.values())

    observation, action, mu = sizes
    axes = [np.linspace(-1, 1, size) for size in grid]
    spec = AgentSpec(
        observation_size=observation,
        action_size=action,
        action_low=-np.ones(action),
        action_high=np.ones(action),
        positions=np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, len(grid)),
        spacing=0.25,
        mu_low=-np.ones(mu),
        mu_high=np.ones(mu),
        own_features=(0,),
        stencil=lambda radius: np.zeros((int(np.prod(grid)), (2 * radius + 1) ** len(grid)), int),
        grid=grid,
    )
    assert 5 * count(kind) < count("mlp")
