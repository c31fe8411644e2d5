"""The sharing schemes against plain loops, and what a hypernetwork gives at the start."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hypemarl.agents import schemes
from hypemarl.agents.networks import AgentNetwork, HyperScheme, PlainScheme, first_copy
from hypemarl.agents.schemes import Plan, make_network
from hypemarl.config import AgentConfig, ConfigError, load, registry
from hypemarl.coupling.spec import AgentSpec

SCHEMES = ["hypemarl", "marl", "fups-id", "nops"]
EPISODES, STEPS, SIZES = 3, 4, (5, 8, 6, 2)


def build(spec: AgentSpec, scheme: str, copies: int = 2, **changes: object) -> AgentNetwork:
    settings = {"encoding_size": 16, "hyper_width": 24, "encoding_frequency": 1.5} | changes
    config = AgentConfig(scheme=scheme, **settings)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    network = make_network(Plan(spec, config, SIZES, copies, 0.1, generator))
    with torch.no_grad():  # zero biases would hide mistakes in how they are used
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network


def draw(spec: AgentSpec) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn((EPISODES, spec.n_agents, STEPS, SIZES[0]), generator=generator)
    return inputs, torch.rand((EPISODES, spec.mu_size), generator=generator) * 2 - 1


def one_by_one(inputs: Tensor, flat: Tensor) -> Tensor:
    """Evaluate one sample (in,) with flat parameters of the layers SIZES, by the book."""
    start = 0
    for index, (fan_in, fan_out) in enumerate(zip(SIZES[:-1], SIZES[1:], strict=True)):
        weight = flat[start : start + fan_in * fan_out].view(fan_in, fan_out)
        bias = flat[start + fan_in * fan_out : start + (fan_in + 1) * fan_out]
        inputs = functional.linear(inputs, weight.T, bias)
        inputs = functional.relu(inputs) if index < len(SIZES) - 2 else inputs
        start += (fan_in + 1) * fan_out
    return inputs


@pytest.mark.parametrize("scheme", SCHEMES)
def test_batched_evaluation_equals_a_loop_over_samples(spec: AgentSpec, scheme: str) -> None:
    network, (inputs, mu) = build(spec, scheme), draw(spec)
    outputs, flat = network(inputs, mu), network.generated(mu)
    assert outputs.shape == (2, EPISODES, spec.n_agents, STEPS, 2)
    for e in range(EPISODES):
        for i in range(spec.n_agents):
            for t in range(STEPS):
                expected = one_by_one(inputs[e, i, t], flat[e, i])
                torch.testing.assert_close(outputs[0, e, i, t], expected)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_first_is_the_first_copy_without_gradient(spec: AgentSpec, scheme: str) -> None:
    network, (inputs, mu) = build(spec, scheme), draw(spec)
    inputs.requires_grad_()
    values = first_copy(network)(inputs, mu)
    torch.testing.assert_close(values, network(inputs, mu)[:1])
    values.sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("scheme", ["fups-id", "nops"])
def test_split_first_layers_equal_concatenated_inputs(spec: AgentSpec, scheme: str) -> None:
    network, (inputs, mu) = build(spec, scheme, copies=1), draw(spec)
    assert isinstance(network, PlainScheme)
    outputs, encoding = network(inputs, mu)[0], network.encoding
    for e, i, t in np.ndindex(EPISODES, spec.n_agents, STEPS):
        owner = i if scheme == "nops" else 0
        known, rows = [inputs[e, i, t]], [network.weights[0][0, owner]]
        if encoding is not None:
            known.append(encoding[i])
            rows.append(network.from_position[0])
        known.append(mu[e])
        rows.append(network.from_mu[0, owner])
        hidden = torch.cat(known) @ torch.cat(rows) + network.biases[0][0, owner, 0]
        for weight, bias in zip(network.weights[1:], network.biases[1:], strict=True):
            hidden = hidden.relu() @ weight[0, owner] + bias[0, owner, 0]
        torch.testing.assert_close(outputs[e, i, t], hidden)


def by_the_book(network: HyperScheme, inputs: Tensor, place: Tensor, mu: Tensor) -> Tensor:
    """Copy 0 for one sample: the hypernetwork on the concatenated context, then its network."""
    hyper = network.hypernetwork
    first = torch.cat([hyper.from_position[0], hyper.from_mu[0]])
    hidden = torch.cat([place, mu]) @ first + hyper.offset[0][0, 0]
    for index in range(len(hyper.offset)):
        if index:
            hidden = hidden @ hyper.hidden[index - 1][0] + hyper.offset[index][0, 0]
        hidden = functional.layer_norm(
            hidden, hidden.shape, hyper.norm_gain[index][0, 0], hyper.norm_bias[index][0, 0]
        ).relu()
    flat = []
    for index, (fan_in, fan_out) in enumerate(zip(SIZES[:-1], SIZES[1:], strict=True)):
        raw = hidden @ hyper.heads[index][0] + hyper.head_bias[index][0, 0]
        flat += [raw[: fan_in * fan_out] * hyper.scale[index][0, 0], raw[fan_in * fan_out :]]
    return one_by_one(inputs, torch.cat(flat))


@pytest.mark.parametrize("depth", [1, 2])
def test_weights_per_context_have_the_gradients_of_weights_per_sample(
    spec: AgentSpec, depth: int
) -> None:
    network, (inputs, mu) = build(spec, "hypemarl", 1, hyper_depth=depth), draw(spec)
    assert isinstance(network, HyperScheme)
    weights = torch.randn((EPISODES, spec.n_agents, STEPS, 2))
    (network(inputs, mu)[0] * weights).sum().backward()
    batched = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    for e, i, t in np.ndindex(EPISODES, spec.n_agents, STEPS):
        place = network.hypernetwork.encoding[i]
        value = by_the_book(network, inputs[e, i, t], place, mu[e])
        (value * weights[e, i, t]).sum().backward()
    for ours, parameter in zip(batched, network.parameters(), strict=True):
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(ours, parameter.grad, rtol=1e-4, atol=1e-5 * scale)
        assert scale > 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_each_scheme_knows(spec: AgentSpec, scheme: str) -> None:
    """marl sees neither place nor mu, nops and hypemarl and fups-id see both."""
    network, (inputs, mu) = build(spec, scheme, copies=1), draw(spec)
    same = inputs[:1, :1].expand_as(inputs)
    outputs = network(same, mu)[0]
    across_agents = (outputs - outputs[:, :1]).abs().max()
    across_mu = (outputs - outputs[:1]).abs().max()
    knows = scheme != "marl"
    assert (across_agents > 1e-3) == knows
    assert (across_mu > 1e-3) == knows


@pytest.fixture
def fresh(build_spec: Callable[..., AgentSpec]) -> Callable[..., tuple[AgentNetwork, AgentSpec]]:
    def make(**changes: object) -> tuple[AgentNetwork, AgentSpec]:
        spec = build_spec((8, 8), observation_size=9)
        config = AgentConfig(**changes)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(3)
        return make_network(Plan(spec, config, (9, 64, 2), 1, 0.1, generator)), spec

    return make


@pytest.mark.parametrize(
    "changes",
    [{}, {"encoding_size": 16, "encoding_frequency": 1.5, "hyper_width": 64}],
    ids=["paper", "small"],
)
def test_generated_weights_start_with_fan_in_variance(fresh: Callable, changes: dict) -> None:
    network, spec = fresh(**changes)
    mu = torch.rand((16, spec.mu_size)) * 2 - 1
    layers = network.hypernetwork(mu)
    for (weight, bias), fan_in, gain in zip(layers, (9, 64), (1.0, 0.1), strict=True):
        assert weight.var().item() * fan_in / gain**2 == pytest.approx(1.0, rel=0.15)
        assert bias.abs().max() == 0


@pytest.mark.parametrize(
    "changes",
    [{}, {"encoding_size": 16, "encoding_frequency": 1.5, "hyper_width": 64}],
    ids=["paper", "small"],
)
def test_policies_differ_by_place_and_near_ones_are_alike(fresh: Callable, changes: dict) -> None:
    network, _ = fresh(**changes)
    weights = network.generated(torch.zeros(1, 2))[0].view(8, 8, -1)
    size = weights.norm(dim=-1).mean()
    neighbours = (weights[1:] - weights[:-1]).norm(dim=-1).mean() / size
    corners = (weights[0, 0] - weights[-1, -1]).norm() / size
    assert corners > 0.4
    assert 0.02 < neighbours < 0.8 * corners


def test_mu_matters_beside_an_encoding_of_2048_entries(fresh: Callable) -> None:
    network, _ = fresh()
    low, high = network.generated(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    assert (low - high).norm() / low.norm() > 0.3


def test_a_registered_scheme_is_chosen_by_name(
    build_spec: Callable[..., AgentSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.SCHEMES, "_items", {})
    marl = schemes.REFERENCE
    mine = dataclasses.replace(marl, name="mine", title="Mine")
    schemes.register_scheme(mine)
    spec = build_spec((12,), 5)
    inputs, mu = draw(spec)
    torch.testing.assert_close(
        build(spec, "mine")(inputs, mu), build(spec, marl.name)(inputs, mu), rtol=0, atol=0
    )
    assert mine in schemes.schemes()
    assert load("density-1d", ["agent.scheme=mine"]).agent.scheme == "mine"
    with pytest.raises(ConfigError, match="scheme 'marl' is taken"):
        schemes.register_scheme(dataclasses.replace(mine, name="marl"))
    with pytest.raises(ConfigError, match=r"no scheme 'mime'; did you mean 'mine'\?"):
        load("density-1d", ["agent.scheme=mime"])
