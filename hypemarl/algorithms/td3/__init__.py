"""Decentralised multi-agent TD3: explores, and learns from a replay."""

from hypemarl.algorithms import lazy, lazy_agent
from hypemarl.algorithms.td3.options import TD3Options, check_off_policy
from hypemarl.training.learner import Algorithm

ALGORITHMS = (
    Algorithm(
        name="td3",
        options=TD3Options,
        make=lazy("algorithms.td3.learner:OffPolicy"),
        make_agent=lazy_agent("algorithms.td3.agent:TD3"),
        title="TD3",
        label=lambda config: config.agent.credit,
        check=check_off_policy,
    ),
)
