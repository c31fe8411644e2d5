"""The hot paths beside their peers, behind `hypemarl bench`.

``BENCHES`` maps a bench's name to a function that measures it and returns one flat dictionary.
"""

from __future__ import annotations

from collections.abc import Callable


def _density_step() -> dict[str, float]:
    from hypemarl.bench.density import density_step

    return density_step()


def _reset() -> dict[str, float]:
    from hypemarl.bench.density import reset
    from hypemarl.bench.flow import flow_reset

    return reset() | flow_reset()


def _flow_step() -> dict[str, float]:
    from hypemarl.bench.flow import flow_step

    return flow_step()


def _agent_update() -> dict[str, float]:
    from hypemarl.bench.agent_update import run

    return run()


def _scaling_agents() -> dict[str, float]:
    from hypemarl.bench.scaling_agents import run

    return run()


def _env_steps() -> dict[str, float]:
    from hypemarl.bench.env_steps import run

    return run()


def _homes() -> dict[str, float]:
    from hypemarl.bench.homes import run

    return run()


def _adjoint() -> dict[str, float]:
    from hypemarl.bench.adjoint import adjoint

    return adjoint()


def _morph() -> dict[str, float]:
    from hypemarl.bench.morphing import morph

    return morph()


def _morph_step() -> dict[str, float]:
    from hypemarl.bench.morph_step import morph_step

    return morph_step()


def _moving_step() -> dict[str, float]:
    from hypemarl.bench.moving_flow import moving_step

    return moving_step()


BENCHES: dict[str, Callable[[], dict[str, float]]] = {
    "density-step": _density_step,
    "flow-step": _flow_step,
    "reset": _reset,
    "agent-update": _agent_update,
    "scaling-agents": _scaling_agents,
    "env-steps": _env_steps,
    "homes": _homes,
    "adjoint": _adjoint,
    "morph": _morph,
    "morph-step": _morph_step,
    "moving-step": _moving_step,
}
