"""One TD3 update with weights generated once per context, beside once per sample."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from hypemarl.agents.replay import Batch
from hypemarl.algorithms.td3.agent import TD3
from hypemarl.bench.timing import best_ms
from hypemarl.config import AgentConfig
from hypemarl.coupling.neighbourhood import grid_stencil
from hypemarl.coupling.spec import AgentSpec
from hypemarl.training.setup import torch_threads

GRID = (8, 8)
EPISODES, STEPS = 8, 32  # 64 agents x 256 samples, of 512 contexts
TOLERANCE = 1e-4


@torch_threads(1)
def run(
    repeats: int = 7, repeats_per_sample: int = 2, episodes: int = EPISODES, steps: int = STEPS
) -> dict[str, float]:
    """Time one update (critics, actor, targets) of 64 agents x 256 samples on one thread.

    Returns a flat record: ``ms`` (weights once per context), ``ms_per_sample`` (as is usual),
    ``ratio``, and ``max_gradient_difference``, relative to each parameter's largest gradient. Times
    are the best of the repeats, which other load on the machine disturbs least.

    Raises:
        AssertionError: the gradients of both differ by more than 1e-4.
    """
    spec = square_spec(GRID)
    # Hypernetwork width 256 and a dynamic layer of 64 are the defaults; both networks are updated.
    agent = TD3(spec, AgentConfig(credit="local", policy_delay=1), seed=0)
    batch = random_batch(spec, episodes, steps)
    shared, separate = agent.prepare(batch), agent.prepare(per_sample(batch))
    difference = _largest_difference(_gradients(agent, shared), _gradients(agent, separate))
    if not difference <= TOLERANCE:
        raise AssertionError(
            f"gradients per context and per sample differ by {difference:.1e}, expected at most "
            f"{TOLERANCE:.0e} of the largest entry"
        )
    ms = best_ms(lambda: agent.learn(shared), repeats)
    ms_per_sample = best_ms(lambda: agent.learn(separate), repeats_per_sample)
    times = {"ms": ms, "ms_per_sample": ms_per_sample, "ratio": ms_per_sample / ms}
    return times | {"max_gradient_difference": difference}


def per_sample(batch: Batch) -> Batch:
    """The same samples as E * T episodes of one step: as many contexts as samples."""
    episodes, _, steps, _ = batch.observations.shape

    def split(array: np.ndarray) -> np.ndarray:  # (E, n, T, ...) -> (E * T, n, 1, ...)
        moved = np.moveaxis(array, 2, 1)
        return moved.reshape(episodes * steps, array.shape[1], 1, *array.shape[3:])

    whole = {name: np.repeat(getattr(batch, name), steps, axis=0) for name in ("mu", "targets")}
    parts = {
        name: array.reshape(episodes * steps, 1) if array.ndim == 2 else split(array)
        for name, array in batch._asdict().items()
        if name not in whole
    }
    return Batch(**parts, **whole)


def square_spec(grid: tuple[int, int]) -> AgentSpec:
    """Agents on a grid over (-1, 1)^2 as in density-vacuum: 9 observed numbers, 2 actions."""
    axes = [np.linspace(-1 + 1 / size, 1 - 1 / size, size) for size in grid]
    positions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return AgentSpec(
        observation_size=9,
        action_size=2,
        action_low=-np.ones(2),
        action_high=np.ones(2),
        positions=positions,
        spacing=2 / max(grid),
        mu_low=np.array([0.0, -0.5]),
        mu_high=np.array([0.5, 0.5]),
        own_features=(4,),
        stencil=partial(grid_stencil, grid),
        grid=grid,
    )


def random_batch(spec: AgentSpec, episodes: int, steps: int) -> Batch:
    """A batch of whole episodes of random numbers."""
    generator = np.random.default_rng(0)
    shape = (episodes, spec.n_agents, steps)

    def normal(*more: int) -> np.ndarray:
        return generator.normal(size=(*shape, *more)).astype(np.float32)

    return Batch(
        observations=normal(spec.observation_size),
        actions=np.clip(normal(spec.action_size), -1, 1),
        rewards=normal(),
        next_observations=normal(spec.observation_size),
        terminated=np.zeros((episodes, steps), dtype=np.float32),
        mask=np.ones((episodes, steps), dtype=np.float32),
        gradients=np.zeros((*shape, 0), dtype=np.float32),
        remaining=np.ones((episodes, steps), dtype=np.float32),
        next_remaining=np.ones((episodes, steps), dtype=np.float32),
        mu=generator.uniform(spec.mu_low, spec.mu_high, (episodes, 2)).astype(np.float32),
        targets=np.zeros((episodes, spec.n_agents, 1), dtype=np.float32),
    )


def _gradients(agent: TD3, batch: dict[str, Tensor]) -> list[Tensor]:
    """Gradients of both losses without smoothing noise, whose draws depend on the batch's shape."""
    noise = torch.zeros_like(batch["actions"])
    loss = agent.critic_loss(batch, noise)[0]
    critic = torch.autograd.grad(loss, list(agent.critic.parameters()))
    actor = torch.autograd.grad(agent.actor_loss(batch), list(agent.actor.parameters()))
    return [*critic, *actor]


def _largest_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    pairs = zip(ours, theirs, strict=True)
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-30)) for a, b in pairs)
