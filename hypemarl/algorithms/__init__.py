"""Algorithms: each a folder with its options, its agent and its learner."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypemarl.config import Config
    from hypemarl.coupling.spec import AgentSpec
    from hypemarl.training.learner import Agent


def lazy(place: str) -> Callable[..., Any]:
    """Call ``module:name`` of the package, imported by the first call: torch takes seconds."""
    return lambda *args, **options: pkgutil.resolve_name(f"hypemarl.{place}")(*args, **options)


def lazy_agent(place: str) -> Callable[[AgentSpec, Config], Agent]:
    """Make an agent of the class ``module:Name`` from (spec, config), on the CPU. Local."""
    return lambda spec, config: lazy(place)(spec, config.agent, config.seed)
