"""TD3: targets, losses, delays, bounds, and going on bit for bit."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hypemarl.algorithms.td3.agent import TD3
from hypemarl.algorithms.td3.credit import masked_mean
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec

SMALL = AgentConfig(
    encoding_size=8,
    encoding_frequency=1.5,
    hyper_width=16,
    actor_hidden=(8,),
    critic_hidden=(8,),
    map_channels=4,
    actor_rate=1e-3,
    critic_rate=1e-3,
    credit_radius=1,
)
SCHEMES = ["hypemarl", "marl", "fups-id", "nops"]
CREDITS = ["local", "neighbourhood", "cooperative", "central"]


def make(spec: AgentSpec, seed: int = 0, **changes: Any) -> TD3:
    return TD3(spec, dataclasses.replace(SMALL, **changes), seed)


def parameters(agent: TD3) -> torch.Tensor:
    modules = (agent.actor, agent.critic, agent.actor_target, agent.critic_target)
    return torch.cat([p.detach().ravel() for m in modules for p in m.parameters()])


@pytest.mark.parametrize("credit", CREDITS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_learns_with_every_credit(
    spec: AgentSpec, fill: Callable, scheme: str, credit: str
) -> None:
    agent, replay = make(spec, scheme=scheme, credit=credit), fill(spec, (4, 3, 4))
    first = agent.update(replay)
    assert set(first) == {"critic_loss", "critic_gradient", "q_mean"}
    losses = [agent.update(replay)["critic_loss"] for _ in range(40)]
    assert np.mean(losses[-10:]) < 0.95 * first["critic_loss"]
    assert np.all(np.isfinite(agent.act(np.ones((12, 5)), np.zeros(2))))
    assert agent.policy_weights(np.zeros(2)).shape == (12, 5 * 8 + 8 + 8 * 2 + 2)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_actions_keep_the_bounds_of_each_component(spec: AgentSpec, scheme: str) -> None:
    agent = make(spec, scheme=scheme, output_gain=1000.0, exploration_noise=2.0)
    generator = np.random.default_rng(0)
    for act in (agent.act, agent.explore, lambda *_: agent.random_actions(3.0)):
        actions = np.stack([act(generator.normal(size=(12, 5)), np.zeros(2)) for _ in range(20)])
        assert actions.shape == (20, 12, 2)
        for component, (low, high) in enumerate(((-1.0, 1.0), (0.0, 10.0))):
            values = actions[..., component]
            assert low <= values.min() < low + 0.1 * (high - low)
            assert high >= values.max() > high - 0.1 * (high - low)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_first_policy_is_near_the_middle_of_the_bounds(spec: AgentSpec, scheme: str) -> None:
    agent = make(spec, scheme=scheme)
    observations = np.random.default_rng(0).normal(size=(12, 5))
    unit = (agent.act(observations, np.zeros(2)) - [0.0, 5.0]) / [1.0, 5.0]
    assert 0.0 < np.abs(unit).mean() < 0.1


def test_noise_is_in_units_of_each_bound(spec: AgentSpec) -> None:
    agent = make(spec, exploration_noise=0.1)
    observations, mu = np.zeros((12, 5)), np.zeros(2)
    actions = np.stack([agent.explore(observations, mu) for _ in range(400)])
    deviation = (actions - agent.act(observations, mu, averaged=False)).std(axis=(0, 1))
    np.testing.assert_allclose(deviation, [0.1, 0.5], rtol=0.1)


def test_targets_are_clipped_double_q(spec: AgentSpec, fill: Callable) -> None:
    """Bootstrap with the lesser twin at smoothed, clipped actions; none after a termination."""
    agent = make(spec, reward_scale=2.0, reward_clip=1.0, target_noise=0.3, target_noise_clip=0.4)
    batch = agent.prepare(sample := fill(spec, (2, 4)).sample(2, 0))
    np.testing.assert_allclose(
        batch["rewards"].numpy(), np.clip(2.0 * sample.rewards, -1, 1), rtol=1e-6
    )
    noise = torch.randn(batch["actions"].shape, generator=torch.Generator().manual_seed(0)) * 3
    with torch.no_grad():
        following, mu = batch["next_observations"], batch["mu"]
        policy = agent.actor_target(following, mu)
        smoothed = (policy + (0.3 * noise).clamp(-0.4, 0.4)).clamp(-1, 1)
        features = agent.critic.observe(following, batch["targets"])
        twins = agent.critic_target(features, smoothed, mu)
    going_on = 1.0 - torch.as_tensor(sample.terminated)[:, None]
    assert going_on.min() == 0
    expected = batch["rewards"] + agent.config.gamma * going_on * torch.minimum(twins[0], twins[1])
    torch.testing.assert_close(agent.target_values(batch, noise), expected)
    assert (twins[0] - twins[1]).abs().min() > 0


def test_steps_that_do_not_exist_have_no_weight(spec: AgentSpec, fill: Callable) -> None:
    agent = make(spec, cloning=0.5)
    sample = fill(spec, (2, 4)).sample(2, 0)
    noise = torch.zeros(sample.actions.shape)
    gone = sample.mask[:, None, :, None] == 0
    other = sample._replace(
        actions=np.where(gone, 0.3, sample.actions),
        observations=np.where(gone, 7.0, sample.observations),
        rewards=np.where(gone[..., 0], 9.0, sample.rewards),
    )
    losses = []
    for batch in (agent.prepare(sample), agent.prepare(other)):
        losses.append((agent.critic_loss(batch, noise)[0], agent.actor_loss(batch)))
    torch.testing.assert_close(losses[0], losses[1])
    assert masked_mean(torch.ones(2, 12, 4), torch.as_tensor(sample.mask)) == 1


def test_the_actor_moves_every_second_update_and_targets_follow(
    spec: AgentSpec, fill: Callable
) -> None:
    agent, replay = make(spec, tau=0.1, average_rate=0.2), fill(spec, (4, 4))
    start = [p.detach().clone() for p in agent.actor.parameters()]
    agent.update(replay)
    for before, after in zip(start, agent.actor.parameters(), strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=0)
    agent.update(replay)
    for rate, module in ((0.1, agent.actor_target), (0.2, agent.actor_average)):
        moved = 0.0
        rows = zip(start, agent.actor.parameters(), module.parameters(), strict=True)
        for before, online, slow in rows:
            expected = before + rate * (online.detach() - before)
            torch.testing.assert_close(slow, expected, rtol=1e-6, atol=1e-9)
            moved += float((slow - before).abs().sum())
        assert moved > 0


@pytest.mark.parametrize("credit", CREDITS)
def test_whose_critics_an_actor_follows(spec: AgentSpec, credit: str, fill: Callable) -> None:
    """d(sum of Q_j) / d a_i reaches: j = i alone, the near agents, or the whole map."""
    agent = make(spec, credit=credit, scheme="hypemarl")
    batch = agent.prepare(fill(spec, (4,)).sample(1, 0))
    n = spec.n_agents
    sees = np.zeros((n, n), dtype=bool)
    for j in range(n):
        actions = batch["actions"].clone().requires_grad_()
        values = agent.first_critic(batch["features"], actions, batch["mu"])[0]
        values[:, j].sum().backward()
        sees[j] = actions.grad.abs().sum(dim=(0, 2, 3)).numpy() > 0
    near = np.zeros((n, n), dtype=bool)
    for i, row in enumerate(spec.stencil(1)):
        near[i, row[row >= 0]] = True
    expected = {"cooperative": near, "central": np.ones((n, n), dtype=bool)}
    np.testing.assert_array_equal(sees, expected.get(credit, np.eye(n, dtype=bool)))


def test_cooperative_actors_follow_the_sum_of_near_critics(spec: AgentSpec, fill: Callable) -> None:
    """The actor's gradient is the chain rule through the sum over j of dQ_j/da_i."""
    agent = make(spec, scheme="nops")
    batch = agent.prepare(fill(spec, (4,)).sample(1, 0))
    agent.actor_loss(batch).backward()
    ours = agent.actor.network.weights[0].grad[0].clone()
    actions = agent.actor(batch["observations"], batch["mu"])
    fixed = actions.detach().requires_grad_()
    values = agent.critic(batch["features"], fixed, batch["mu"])[0]
    (slopes,) = torch.autograd.grad(values.sum() / values.numel(), fixed)
    agent.actor.zero_grad()
    (-(slopes * actions).sum()).backward()
    torch.testing.assert_close(ours, agent.actor.network.weights[0].grad[0])


def test_a_map_critic_sees_the_whole_of_a_map_wider_than_its_window(
    build_spec: Callable, fill: Callable
) -> None:
    spec = build_spec((12,))
    agent = make(spec, credit="central")
    batch = agent.prepare(fill(spec, (4,)).sample(1, 0))
    actions = batch["actions"].clone().requires_grad_()
    agent.critic(batch["features"], actions, batch["mu"])[0, :, 0].sum().backward()
    assert actions.grad is not None
    assert actions.grad.abs().sum(dim=(0, 2, 3)).min() > 0


def test_cooperative_features_are_the_own_observation_and_near_own_features(
    spec: AgentSpec, fill: Callable
) -> None:
    batch = make(spec).prepare(sample := fill(spec, (4,)).sample(1, 0))
    near = np.delete(spec.stencil(1), 4, axis=1)
    own = np.where(near[..., None] >= 0, sample.observations[0, near, :, 1], 0.0)
    features = batch["features"][0].numpy()
    np.testing.assert_array_equal(features[..., :5], sample.observations[0])
    np.testing.assert_allclose(features[..., 5:], own.swapaxes(1, 2), rtol=1e-6)


def test_cloning_pulls_towards_the_actions_of_the_replay(spec: AgentSpec, fill: Callable) -> None:
    replay, distances = fill(spec, (4,)), []
    for cloning in (0.0, 100.0):
        agent = make(spec, cloning=cloning, scheme="nops", actor_rate=1e-2)
        for _ in range(80):
            agent.update(replay)
        batch = agent.prepare(replay.sample(1, 0))
        policy = agent.actor(batch["observations"], batch["mu"])
        distances.append(float((policy - batch["actions"]).square().mean().detach()))
    assert distances[1] < 0.7 * distances[0]


def test_neighbourhood_credit_averages_over_agents_that_exist(
    build_spec: Callable, fill: Callable
) -> None:
    spec = build_spec((4,))
    sample = fill(spec, (4,)).sample(1, 0)
    rewards = make(spec, credit="neighbourhood").prepare(sample)["rewards"].numpy()
    np.testing.assert_allclose(rewards[:, 0], sample.rewards[:, :2].mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(rewards[:, 2], sample.rewards[:, 1:].mean(axis=1), rtol=1e-5)


def test_central_credit_needs_a_grid_and_targets(spec: AgentSpec, fill: Callable) -> None:
    with pytest.raises(ValueError, match="on a grid of one or two axes, got grid None"):
        make(dataclasses.replace(spec, grid=None), credit="central")
    sample = fill(spec, (4,)).sample(1, 0)
    with pytest.raises(ValueError, match=r"targets of shape \(n, 1\), got \(12, 3\)"):
        make(spec, credit="central").prepare(sample._replace(targets=np.zeros((1, 12, 3))))


@pytest.mark.parametrize("key", ["scheme", "credit"])
def test_unknown_choices_are_named(spec: AgentSpec, key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} 'x'.* cooperative|{key} 'x'.* nops"):
        make(spec, **{key: "x"})


def test_a_diverged_update_is_an_error(spec: AgentSpec, fill: Callable) -> None:
    agent = make(spec)
    with torch.no_grad():
        next(agent.critic.parameters()).fill_(float("inf"))
    with pytest.raises(FloatingPointError, match="gradient of the critic is nan in update 1"):
        agent.update(fill(spec, (4,)))


@pytest.mark.parametrize("credit", CREDITS)
def test_a_restored_agent_goes_on_bit_for_bit(spec: AgentSpec, fill: Callable, credit: str) -> None:
    def go_on(agent: TD3, replay: Any) -> list[np.ndarray]:
        numbers = []
        for _ in range(5):
            agent.update(replay)
            numbers.append(agent.explore(np.ones((12, 5)), np.zeros(2)))
            numbers.append(agent.act(np.ones((12, 5)), np.zeros(2)))
        return [*numbers, parameters(agent).numpy()]

    agent, replay = make(spec, credit=credit, noise_smoothing=0.5), fill(spec, (4, 4, 3))
    for _ in range(3):
        agent.update(replay)
    agent.explore(np.ones((12, 5)), np.zeros(2))
    stream = io.BytesIO()
    torch.save({"agent": agent.state_dict(), "replay": replay.state_dict()}, stream)
    stream.seek(0)
    expected = go_on(agent, replay)
    state = torch.load(stream, weights_only=True)
    other, filled = make(spec, seed=7, credit=credit, noise_smoothing=0.5), fill(spec, (4,))
    other.load_state_dict(state["agent"])
    filled.load_state_dict(state["replay"])
    for ours, theirs in zip(go_on(other, filled), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_seeds_decide_and_global_generators_are_left_alone(spec: AgentSpec, fill: Callable) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    results = []
    for seed in (1, 1, 2):
        agent, replay = make(spec, seed=seed), fill(spec, (4, 4))
        for _ in range(3):
            agent.update(replay)
        results.append(parameters(agent))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_what_the_policy_map_draws(spec: AgentSpec) -> None:
    agent = make(spec)
    assert agent.encodings().shape == (12, 8)
    weights = agent.policy_weights(np.zeros(2))
    assert np.linalg.norm(weights[0] - weights[-1]) > 0.1 * np.linalg.norm(weights[0])
    assert agent.parameter_count["critic"] > agent.parameter_count["actor"] > 0


def test_returns_run_backwards_along_the_episode(spec: AgentSpec, fill: Callable) -> None:
    """lambda = 1: the rewards to the episode's end, then the value there; masked steps stay out."""
    agent = make(spec, trace=1.0, gamma=0.8)
    batch = agent.prepare(fill(spec, (4, 3)).sample(2, 0))
    noise = torch.zeros(batch["actions"].shape)
    one_step = make(spec, gamma=0.8).target_values(batch, noise)
    values = (one_step - batch["rewards"]) / 0.8
    ours, rewards = agent.target_values(batch, noise), batch["rewards"]
    for episode in range(2):
        expected = torch.zeros(spec.n_agents)
        length = int(batch["mask"][episode].sum())
        # a short episode ends terminated, where nothing follows
        expected = values[episode, :, length - 1] if length == 4 else expected
        for t in reversed(range(length)):
            expected = rewards[episode, :, t] + 0.8 * expected
            torch.testing.assert_close(ours[episode, :, t], expected)


def test_lambda_returns_blend_the_next_value_with_the_next_return(
    spec: AgentSpec, fill: Callable
) -> None:
    batch = make(spec).prepare(fill(spec, (4,)).sample(1, 0))
    noise = torch.zeros(batch["actions"].shape)
    one_step = make(spec).target_values(batch, noise)
    returns = make(spec, trace=0.6).target_values(batch, noise)
    gamma, rewards = SMALL.gamma, batch["rewards"]
    values = (one_step - rewards) / gamma
    blended = 0.4 * values[..., :-1] + 0.6 * returns[..., 1:]
    torch.testing.assert_close(returns[..., :-1], rewards[..., :-1] + gamma * blended)
    torch.testing.assert_close(returns[..., -1], one_step[..., -1])


@pytest.mark.parametrize("credit", CREDITS)
def test_critics_that_know_the_time_left_see_no_future_past_it(
    spec: AgentSpec, fill: Callable, credit: str
) -> None:
    agent = make(spec, time_left=True, credit=credit)
    replay = fill(spec, (4, 3))
    batch = agent.prepare(replay.sample(2, 0))
    left = torch.tensor([1.0, 0.75, 0.5, 0.25]).expand(2, 12, 4)
    torch.testing.assert_close(batch["features"][..., -1], left)
    targets = agent.target_values(batch, torch.zeros(batch["actions"].shape))
    torch.testing.assert_close(targets[..., 3], batch["rewards"][..., 3])
    assert (targets[..., 0] - batch["rewards"][..., 0]).abs().mean() > 0.01
    assert np.isfinite(agent.update(replay)["critic_loss"])


def with_gains(replay: Any, gradients: float) -> Any:
    """The replay, every step of every agent gaining by a larger first action."""
    replay.gradients = np.zeros_like(replay.actions)
    replay.gradients[..., 0] = gradients
    return replay


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_adjoint_credit_moves_the_actor_along_the_gains(
    spec: AgentSpec, fill: Callable, sign: float
) -> None:
    agent = make(spec, credit="adjoint", cloning=100.0, actor_rate=1e-2)
    replay = with_gains(fill(spec, (4, 3, 4)), sign)
    observations = np.random.default_rng(1).normal(size=(12, 5))
    before = agent.act(observations, np.zeros(2), averaged=False)[:, 0].mean()
    for _ in range(60):
        agent.update(replay)
    after = agent.act(observations, np.zeros(2), averaged=False)[:, 0].mean()
    assert sign * (after - before) > 0.3


def test_adjoint_credit_does_not_hold_back_what_has_gone_further(
    spec: AgentSpec, fill: Callable
) -> None:
    """Component 0 points down: actions above the wanted ones are pulled, those below are not."""
    agent = make(spec, credit="adjoint", cloning=1.0, adjoint_step=0.1)
    sample = with_gains(fill(spec, (4,)), -2.0).sample(1, 0)
    for place, reaches in ((0.5, True), (-0.5, False)):
        sample = sample._replace(actions=np.full_like(sample.actions, [-place, 5.0]))
        batch = agent.prepare(sample)
        # clipped to three mean sizes, of which half the components are zero: two
        torch.testing.assert_close(
            batch["target_actions"][..., 0], torch.full((1, 12, 4), -place - 0.2)
        )
        torch.testing.assert_close(batch["target_actions"][..., 1], torch.zeros(1, 12, 4))
        agent.config = dataclasses.replace(agent.config, cloning=1e-9)
        without = agent.actor_loss(batch)
        agent.config = dataclasses.replace(agent.config, cloning=1.0)
        assert (float((agent.actor_loss(batch) - without).detach()) > 0.01) == reaches


def test_adjoint_credit_needs_gains(spec: AgentSpec, fill: Callable) -> None:
    agent = make(spec, credit="adjoint", cloning=1.0)
    with pytest.raises(RuntimeError, match="credit adjoint needs action gradients in the replay"):
        agent.update(fill(spec, (4,)))
