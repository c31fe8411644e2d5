"""Ablation of TD3: changes of a scenario's settings, one at a time, over several seeds.

Every variant is trained with the scenario's own settings but for what it overrides, and evaluated
on the held-out set.
"""

from __future__ import annotations

import numpy as np

from hypemarl import config as configuration
from hypemarl.studies import pipeline
from hypemarl.studies.pipeline import Entry, Group, Study
from hypemarl.training.records import read_metrics
from hypemarl.types import Row

#: of every run, fewer than most scenarios have: what helps shows early
EPISODES = 200

#: where the scenario has credit adjoint, whose weight it is
NO_CLONING = "agent.cloning=0"

#: so many agents to each axis of the scenario's grid
AXIS = {"env.agents=few": 4, "env.agents=fewer": 3}
FEW, FEWER = AXIS

#: decentralised training on near agents' rewards
PLAIN = ("agent.credit=local", NO_CLONING, "env.reward=neighbourhood")
#: formulations of the problem in which it is looked for
PLAIN_FORMS: dict[str, tuple[str, ...]] = {
    "near": (),
    "near-trace": ("agent.time_left=true", "agent.trace=0.8"),
    "near-target": ("env.density.observe_target=true",),
    "near-wide": ("env.reward_radius=4",),
    "near-steps": ("env.control_steps=4", "agent.gamma=0.8"),
    "near-brake": ("env.density.beta=0.1", "env.density.beta_g=0.05"),
    # so few agents that near rewards hold most of what an action does
    "few": (FEW, "env.reward_radius=1", "training.episodes=400"),
    "few-far": (FEW, "env.reward_radius=2", "training.episodes=400"),
    "fewer": (FEWER, "env.reward_radius=1", "training.episodes=300"),
    # and critics that know when the episode ends, and look less far ahead
    "fewer-trace": (
        *(FEWER, "env.reward_radius=1", "training.episodes=300"),
        *("agent.time_left=true", "agent.trace=0.8", "agent.gamma=0.8"),
    ),
}

VARIANTS = (
    Entry("scenario", ()),
    # whose costs an actor's gradient knows
    Entry("credit-adjoint", ("agent.credit=adjoint", "agent.cloning=10")),
    Entry("credit-local", ("agent.credit=local", NO_CLONING)),
    Entry("credit-local-reward-global", ("agent.credit=local", NO_CLONING, "env.reward=global")),
    Entry("credit-neighbourhood", ("agent.credit=neighbourhood", NO_CLONING)),
    # the papers' plain form, decentralised in training too, beside MARL with the same
    *(
        Entry(f"plain-{name}{suffix}", (*PLAIN, *changes, *scheme))
        for name, changes in PLAIN_FORMS.items()
        for suffix, scheme in (("", ()), ("-marl", ("agent.scheme=marl",)))
    ),
    Entry("credit-central", ("agent.credit=central", NO_CLONING)),
    Entry("radius-1", ("agent.credit_radius=1",)),
    Entry("reward-global", ("env.reward=global",)),
    # what critics see and what they learn
    Entry("time-left", ("agent.time_left=true",)),
    Entry("trace-0.8", ("agent.trace=0.8",)),
    Entry("time-left-trace-0.8", ("agent.time_left=true", "agent.trace=0.8")),
    Entry("gamma-0.8", ("agent.gamma=0.8",)),
    Entry("gamma-0.97", ("agent.gamma=0.97",)),
    Entry("squared-loss", ("agent.huber=false",)),
    Entry("no-reward-clip", ("agent.reward_clip=0",)),
    Entry("reward-scale-1", ("agent.reward_scale=1", "agent.reward_clip=0")),
    Entry("cloning-0.1", ("agent.cloning=0.1",)),
    # how much and how fast
    Entry("updates-2", ("training.updates_per_step=2",)),
    Entry("updates-0.5", ("training.updates_per_step=0.5",)),
    Entry("batch-6", ("agent.batch_episodes=6",)),
    Entry("no-gradient-clip", ("agent.gradient_clip=0",)),
    Entry("papers-rates", ("agent.actor_rate=1e-6", "agent.critic_rate=5e-5")),
    # initial values, exploration, which policy is kept
    Entry("output-gain-1", ("agent.output_gain=1",)),
    Entry("noise-0.3", ("agent.exploration_noise=0.3",)),
    Entry("noise-smooth", ("agent.noise_smoothing=0.7",)),
    Entry("no-average", ("agent.average_rate=1",)),
    Entry("average-0.001", ("agent.average_rate=0.001",)),
    # the task
    Entry("observe-target", ("env.density.observe_target=true",)),
    Entry("interval-half", ("env.control_steps=16",)),
    Entry("horizon-half", ("env.horizon=1", "env.control_steps=4")),
    # the papers' networks, slow: eleven times the arithmetic
    Entry(
        "papers-networks",
        (
            "agent.encoding_size=2048",
            "agent.hyper_width=256",
            "agent.actor_rate=1e-6",
            "agent.critic_rate=5e-5",
        ),
    ),
)

COLUMNS = {
    "name": "variant",
    "overrides": "overrides",
    "seeds": "seeds",
    "cost_mean": "cost J mean",
    "cost_median": "median",
    "cost_min": "min",
    "cost_max": "max",
    "ratio_to_uncontrolled": "J / J0",
    "recovered": "recovered",
    "return_mean": "return",
    "last_cost": "last validation",
    "seconds": "seconds",
}


def entries(scenario: str) -> list[Entry]:
    """The scenario's variants with :data:`EPISODES` unless they say otherwise."""
    length, axes = f"training.episodes={EPISODES}", len(configuration.load(scenario).env.agents)
    agents = {change: f"env.agents={[count] * axes}" for change, count in AXIS.items()}
    return [
        Entry(v.name, (length, *(agents.get(change, change) for change in v.overrides)))
        for v in VARIANTS
    ]


def measure(group: Group) -> Row:
    """``last_cost``, the validation cost of the last policy, where the others are of the best."""
    lines = [[e for e in read_metrics(run) if e["kind"] == "validation"] for run in group.runs]
    last = [validations[-1]["cost"] for validations in lines]
    return {
        "overrides": " ".join({v.name: v.overrides for v in VARIANTS}[group.entry.name]),
        "last_cost": float(np.mean([np.inf if cost is None else cost for cost in last])),
        "seconds": pipeline.seconds(group.runs),
    }


STUDY = Study("ablation", "density-vacuum", entries, COLUMNS, measure)
