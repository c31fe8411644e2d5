"""Settings of problems (``env.problem.*``): which one it is, and what of it is changed."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypemarl.config.errors import ConfigError, nearest, quoted
from hypemarl.config.keys import key
from hypemarl.config.problems import PROBLEMS, SYSTEM
from hypemarl.config.problems import problem_of as class_of
from hypemarl.config.schema import Config, EnvConfig, MeshConfig, options_of
from hypemarl.config.sources import digest_of
from hypemarl.config.yaml_text import read_assignments
from hypemarl.systems.problem.attributes import require_sound
from hypemarl.systems.registry import System, deferred

if TYPE_CHECKING:
    from hypemarl.mpi import Comm
    from hypemarl.systems.problem.problem import Problem


@dataclass(frozen=True)
class ProblemOptions:
    """Any PDE: a class that states it in UFL, see docs/problems.md."""

    name: str = key("", "of the problem: one of the package, or of code named by --use")
    options: tuple[str, ...] = key((), "attributes of its class, each name=value (in YAML)")

    @property
    def changes(self) -> dict[str, Any]:
        """The options by name. Raises ConfigError where they are malformed."""
        return read_assignments(self.options, "env.problem.options", "width=0.2")


def problem_of(env: EnvConfig) -> Problem:
    """An instance of the problem of a configuration, with its options. Local.

    Raises:
        ConfigError: there is no such problem, or option.
    """
    options = options_of(env, ProblemOptions)
    cls: Any = class_of(options.name)
    problem = cls()
    for name, value in options.changes.items():
        before = getattr(cls, name, None)
        if not hasattr(cls, name) or callable(before) or name in ("settings", "name"):
            known = [
                item
                for item in dir(cls)
                if not item.startswith("_") and not callable(getattr(cls, item, None))
            ]
            raise ConfigError(
                f"env.problem.options: {cls.__name__} has no option {quoted(name)}"
                f"{nearest(name, known, ';')} it has {', '.join(known)}",
                "env.problem.options",
            )
        setattr(problem, name, _as_before(name, before, value))
    _require_agents(problem, env)
    return problem


def _as_before(name: str, before: Any, value: Any) -> Any:
    """A value of the type that the class states. YAML reads 4e5 as text. Raises ConfigError."""
    if isinstance(before, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(before, bool) or not isinstance(before, int | float):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(
            f"env.problem.options: {name}: expected a number, as the class has {before!r}, got "
            f"{value!r}",
            "env.problem.options",
        )
    return int(number) if isinstance(before, int) and number.is_integer() else number


def _require_agents(problem: Problem, env: EnvConfig) -> None:
    from hypemarl.systems.problem.agents import Grid

    counts = problem.agents.counts
    if tuple(env.agents) == counts:
        return
    if isinstance(problem.agents, Grid):
        problem.agents = Grid(*env.agents)
        return
    raise ConfigError(
        f"env.agents: {type(problem).__name__} states {counts} agents, got {list(env.agents)}",
        "env.agents",
    )


def mesh_of(problem: Problem, env: EnvConfig, comm: Comm) -> Any:
    """The mesh that a problem states, or that of ``env.mesh``. Collective."""
    from hypemarl.meshing import build
    from hypemarl.systems.problem.calls import call, refuse

    stated = type(problem).mesh
    if isinstance(stated, str | Mapping):
        return build(env.mesh, comm)
    mesh = call(problem.mesh, {"comm": comm})
    size = getattr(getattr(mesh, "comm", comm), "size", comm.size)
    if size != comm.size:
        raise refuse(problem.mesh, f"expected a mesh on `comm`, of {comm.size} ranks, got {size}")
    return mesh


def check(config: Config) -> None:
    """Refuse a problem that does not exist, and settings that it does not read.

    Raises:
        ConfigError: names them.
    """
    env, options = config.env, options_of(config.env, ProblemOptions)
    if not options.name:
        raise ConfigError(
            f"env.problem.name: expected the name of a problem ({', '.join(PROBLEMS.names())}), or "
            "of one of your own (--use FILE.py)",
            "env.problem.name",
        )
    cls: Any = class_of(options.name)
    require_sound(problem_of(env))
    if not isinstance(cls.mesh, str | Mapping) and env.mesh != MeshConfig():
        raise ConfigError(
            f"env.mesh: {cls.__name__} makes its mesh itself (method `mesh`), which these settings "
            "do not reach; change it there, or by env.problem.options",
            "env.mesh",
        )
    if env.reward_baseline:
        raise ConfigError("env.reward_baseline is for flows and shapes; leave it out")


def code(env: EnvConfig) -> str:
    """The SHA-256 of the file that states the problem. Local."""
    return digest_of(inspect.getfile(class_of(options_of(env, ProblemOptions).name)))


PROBLEM = System(
    name=SYSTEM,
    make=deferred("hypemarl.systems.problem.plant:make"),
    options=ProblemOptions,
    check=check,
    code=code,
)
