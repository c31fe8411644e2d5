"""MB-HypeMARL: learning in a surrogate of the local dynamics."""

from hypemarl.algorithms import lazy, lazy_agent, td3
from hypemarl.algorithms.model_based.options import (
    DynaOptions,
    MBPGOptions,
    aliases,
    check_dyna,
    check_mbpg,
)
from hypemarl.training.learner import Algorithm

ALGORITHMS = (
    Algorithm(
        name="mbpg",
        options=MBPGOptions,
        aliases=aliases(MBPGOptions),
        make=lazy("algorithms.model_based.learner:ModelBasedGradient"),
        make_agent=lazy_agent("agents.policy:PolicyAgent"),  # the actor without its surrogate
        needs=frozenset({"local_model"}),
        title="gradient through the surrogate",
        check=check_mbpg,
        diagnose=lazy("algorithms.model_based.errors:flat_errors"),
    ),
    Algorithm(
        name="dyna",
        options=DynaOptions,
        aliases=aliases(DynaOptions),
        make=lazy("algorithms.model_based.learner:ModelBasedTD3"),
        make_agent=td3.ALGORITHMS[0].make_agent,  # without the surrogate
        needs=frozenset({"local_model"}),
        title="TD3 on imagined episodes",
        check=check_dyna,
        diagnose=lazy("algorithms.model_based.errors:flat_errors"),
    ),
)
