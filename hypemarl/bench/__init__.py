"""The hot paths beside their peers, behind `hypemarl bench`.

``BENCHES`` maps a bench's name to a function that measures it and returns one flat dictionary. Its
module is imported when it is called.
"""

from collections.abc import Callable
from importlib import import_module


def _bench(*functions: str) -> Callable[[], dict[str, float]]:
    """The measurements of ``module.function`` in this package, one after the other."""

    def run() -> dict[str, float]:
        result: dict[str, float] = {}
        for module, _, function in (name.partition(".") for name in functions):
            result |= getattr(import_module(f"{__name__}.{module}"), function)()
        return result

    return run


BENCHES: dict[str, Callable[[], dict[str, float]]] = {
    "density-step": _bench("density.density_step"),
    "flow-step": _bench("flow.flow_step"),
    "reset": _bench("density.reset", "flow.flow_reset"),
    "agent-update": _bench("agent_update.run"),
    "scaling-agents": _bench("scaling_agents.run"),
    "env-steps": _bench("env_steps.run"),
    "external": _bench("env_steps.external"),
    "homes": _bench("env_steps.external"),  # its name in version 0.1
    "adjoint": _bench("adjoint.adjoint"),
    "morph": _bench("morphing.morph"),
    "morph-step": _bench("morphing.morph_step"),
    "problem-step": _bench("problem_step.problem_step"),
    "moving-step": _bench("moving_flow.moving_step"),
}
