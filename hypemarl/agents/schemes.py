"""The sharing schemes, by which every agent gets a network, and their registration.

========== ============================================ ===================== ==================
scheme     parameters                                    sees mu               knows its place
========== ============================================ ===================== ==================
hypemarl   generated per (episode, agent) by a           through the weights   through the weights
           hypernetwork from [code, mu]
marl       shared by all agents                          no                    no
marl-mu    shared by all agents                          as an input           no
fups-id    shared by all agents                          as an input           code as an input
nops       separate for each agent                       as an input           by its parameters
========== ============================================ ===================== ==================

``agent.encoder`` says what an agent's code is, ``agent.hypernetwork`` the kind of hypernetwork.
``fups-id-no-state`` is HyperMARL's ablation FuPS+ID (No State) (arXiv:2412.04233): one shared
policy that reads which agent it is, here also mu, and no observation at all, which tells what
identity alone is worth, without gradients of observation and identity coupled in one network. It
acts open loop. Its critics see what those of ``fups-id`` do.

Torch is imported only where a network is built.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hypemarl.config import AgentConfig, registry
from hypemarl.config.registry import SchemeSettings

if TYPE_CHECKING:
    import torch

    from hypemarl.agents.networks import AgentNetwork
    from hypemarl.coupling.spec import AgentSpec


class Plan(NamedTuple):
    """Arguments from which a network is built."""

    spec: AgentSpec
    config: AgentConfig
    sizes: Sequence[int]
    """widths of its layers: input, hidden..., output"""
    copies: int
    """independent networks, evaluated together: 2 for twin critics"""
    output_gain: float
    """factor on the last layer at the start"""
    generator: torch.Generator
    """source of the initial values"""


@dataclass(frozen=True, kw_only=True)
class Scheme(SchemeSettings):
    """One sharing scheme, chosen by ``agent.scheme``."""

    title: str
    """its published name, for pictures"""
    build: Callable[[Plan], AgentNetwork]
    """makes a network; imports what it needs"""
    generates: bool = False
    """a hypernetwork makes the weights, so that ``agent.hypernetwork`` matters"""
    distinct: bool = True
    """agents can act differently on the same observation"""
    observes: bool = True
    """policies see an observation"""


def _lazy(network: str, **inputs: bool) -> Callable[[Plan], AgentNetwork]:
    """Maker of a class in :mod:`hypemarl.agents.networks`, which is imported by the first call."""
    return lambda plan: pkgutil.resolve_name(f"hypemarl.agents.networks:{network}")(plan, **inputs)


INFORMED = Scheme(
    name="hypemarl", title="HypeMARL", build=_lazy("HyperScheme"), has_codes=True, generates=True
)
"""Knows place and mu: for networks that exist in training only, whatever the policies' scheme."""
REFERENCE = Scheme(
    name="marl", title="MARL", build=_lazy("PlainScheme", sees_mu=False), distinct=False
)
"""Reference of the other schemes in tables."""
UNPLACED = Scheme(name="marl-mu", title="MARL with mu", build=_lazy("PlainScheme"), distinct=False)
"""Knows mu and no place: HypeMARL less it is the worth of place."""

SCHEMES = (
    INFORMED,
    REFERENCE,
    Scheme(name="fups-id", title="FuPS+ID", build=_lazy("PlainScheme", codes=True), has_codes=True),
    Scheme(name="nops", title="NoPS", build=_lazy("PlainScheme", separate=True)),
    Scheme(
        name="fups-id-no-state",
        title="FuPS+ID (no state)",
        build=_lazy("PlainScheme", codes=True),
        has_codes=True,
        observes=False,
    ),
    UNPLACED,
)


def register_scheme(scheme: Scheme) -> Scheme:
    """Make a scheme known as ``agent.scheme=<name>``; returns it. Local: on every rank.

    Raises:
        ConfigError: another one has this name.
    """
    registry.SCHEMES.register(scheme)
    return scheme


def schemes() -> tuple[Scheme, ...]:
    """All schemes, the package's first."""
    return tuple(scheme for scheme in registry.SCHEMES if isinstance(scheme, Scheme))


def scheme_of(config: AgentConfig) -> Scheme:
    """The scheme of ``config``. Raises ConfigError where it is unknown; names the known ones."""
    scheme = registry.SCHEMES.get(config.scheme)
    assert isinstance(scheme, Scheme)
    return scheme


def make_network(plan: Plan, scheme: Scheme | None = None) -> AgentNetwork:
    """A network of ``scheme``, by default that of the plan's settings.

    Raises:
        ConfigError: the scheme is unknown.
    """
    return (scheme or scheme_of(plan.config)).build(plan)


def variant(config: AgentConfig) -> str:
    """Name of the scheme in tables, with code and kind of hypernetwork where they are unusual."""
    scheme, usual = scheme_of(config), AgentConfig()
    names = [scheme.name]
    if scheme.has_codes and config.encoder != usual.encoder:
        names.append(config.encoder)
    if scheme.generates and config.hypernetwork != usual.hypernetwork:
        names.append(config.hypernetwork)
    return " ".join(names)
