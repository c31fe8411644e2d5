"""PettingZoo environments from the text of ``env.external.source``."""

import functools
import inspect
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from pettingzoo import ParallelEnv

from hypemarl.config import ConfigError, quoted
from hypemarl.config.errors import nearest
from hypemarl.config.external import ExternalConfig
from hypemarl.config.sources import (
    Source,
    digest,
    is_registered,
    parse,
    permitted,
    require_installed,
    say_changed,
    search_working_folder,
)
from hypemarl.config.user_code import imported, last_line, module_of_file
from hypemarl.types import Row

Factory = Callable[..., ParallelEnv]


def open_source(config: ExternalConfig) -> ParallelEnv:
    """The environment that ``config`` names, made anew. Local.

    Imported modules are trusted (:func:`hypemarl.config.trusted`) or registered, and the factory is
    known to make environments before it is called.

    Raises:
        ConfigError: the source is of no known form or not trusted, its package is not installed,
            the name in it makes no ``ParallelEnv``, or it fails with these options.
    """
    text = permitted(config)
    source, arguments = parse(text), config.arguments
    say_changed(text, config.sha256, digest(text))
    factory = _FACTORIES[source.kind](source)
    _check_options(text, factory, arguments)
    env = _made(text, factory, arguments)
    if not isinstance(env, ParallelEnv):
        raise ConfigError(
            f"{text} made a {type(env).__name__}, expected a pettingzoo.ParallelEnv; "
            "name the module's parallel_env, not env"
        )
    return env


def _pettingzoo(source: Source) -> Factory:
    """The class or function that a module, or a file of the user's, names."""
    if source.is_file:
        module = module_of_file(Path(source.place))
    elif is_registered(source.text):
        module = _installed(source.place)
    else:
        search_working_folder(source.place)
        module = imported(source.place)
    name = source.detail or "parallel_env"
    value = getattr(module, name, None)
    if value is None:
        there = [n for n, value in vars(module).items() if _is_factory(value, module)]
        raise ConfigError(
            f"{source.place} has no {quoted(name)} to make an environment with"
            f"{nearest(name, there, '.')} It has: {', '.join(there) or 'no environment at all'}"
        )
    if not _is_factory(value, module):
        raise ConfigError(
            f"{source.place}:{name}: expected a subclass of pettingzoo.ParallelEnv, or a function "
            f"that is defined in this package, got {_described(value)}; it was not called"
        )
    return value


def _vmas(source: Source) -> Factory:
    """A scenario of VMAS, with the options that its ``make_world`` takes."""
    _installed("vmas")
    from hypemarl.envs.external.vmas import VmasEnv, scenario_names

    names = scenario_names()
    if source.place not in names:
        raise ConfigError(
            f"vmas has no scenario {quoted(source.place)}{nearest(source.place, names, '.')} "
            f"There are: {', '.join(names)}"
        )
    return functools.partial(VmasEnv, source.place)


def _mamujoco(source: Source) -> Factory:
    """``Robot`` (every actuator is an agent), or ``Robot:partition`` of multi-agent MuJoCo."""
    module = _installed("gymnasium_robotics").mamujoco_v1
    robot = source.place
    if source.detail:
        return functools.partial(module.parallel_env, robot, source.detail)

    def every_actuator(**arguments: object) -> ParallelEnv:
        parts, edges, shared = module.get_parts_and_edges(robot, None)
        joints = sorted((j for part in parts for j in part), key=lambda joint: joint.act_ids)
        single = {"partition": [(j,) for j in joints], "edges": edges, "globals": shared}
        partition = f"{len(joints)}x1"
        return module.parallel_env(robot, partition, agent_factorization=single, **arguments)

    return every_actuator


_FACTORIES: dict[str, Callable[[Source], Factory]] = {
    "pettingzoo": _pettingzoo,
    "vmas": _vmas,
    "mamujoco": _mamujoco,
}


def _installed(name: str) -> types.ModuleType:
    """A module of a package that hypemarl knows, never one of the working folder."""
    require_installed(name)
    return imported(name, "external")


def _is_factory(value: object, module: types.ModuleType) -> bool:
    """True where ``value`` is known to make environments, without a call.

    A class says so by its bases. A function must be of the module's package, or PettingZoo's
    wrapper around one, and no function of the standard library: ``os.system`` makes none.
    """
    while isinstance(value, functools.partial):
        value = value.func
    if isinstance(value, type):
        return issubclass(value, ParallelEnv)
    if not isinstance(value, types.FunctionType):
        return False
    source, package = (name.partition(".")[0] for name in (value.__module__ or "", module.__name__))
    return source not in sys.stdlib_module_names and source in (package, "pettingzoo")


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__module__}.{value.__qualname__}"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"the function {value.__module__}.{value.__qualname__}"
    return f"{quoted(value)} of type {type(value).__name__}"


def _check_options(text: str, factory: Factory, arguments: Row) -> None:
    """Refuse options that the factory does not take, and say which it does. Calls nothing."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # no signature is known
        return
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for name in arguments:
            if name not in [p.name for p in named]:
                raise ConfigError(_wrong_option(text, name, [p.name for p in named]))
    required = [p.name for p in named if p.default is p.empty and p.name not in arguments]
    if required:
        raise ConfigError(
            f"{text} needs the option {required[0]!r}: --set 'env.external.options=["
            f"{required[0]}=VALUE]'"
        )


_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")
_UNUSED = re.compile(r"Scenario kwargs: \{'(\w+)'.* passed but not used")


def _made(text: str, factory: Factory, arguments: Row) -> ParallelEnv:
    """The environment; every failure of its making is one line that names the source."""
    try:
        with warnings.catch_warnings():
            # VMAS only warns of options that it does not know
            warnings.filterwarnings("error", "Scenario kwargs: .* passed but not used")
            return factory(**arguments)
    except ConfigError:
        raise
    except Exception as error:
        match = (_UNUSED if isinstance(error, Warning) else _UNEXPECTED).search(str(error))
        if match and match[1] in arguments:
            raise ConfigError(_wrong_option(text, match[1], _options_inside(factory))) from error
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{text} cannot be made with the options {quoted(arguments)}{last_line(error)}: "
            f"{type(error).__name__}: {reason}"
        ) from error


def _options_inside(factory: Factory) -> list[str]:
    """Options behind a factory of ``**arguments``, as far as they are known.

    They are those of VMAS's scenario, or of the class behind PettingZoo's ``parallel_wrapper_fn``.
    """
    if isinstance(factory, functools.partial) and factory.func.__module__.startswith("hypemarl."):
        from hypemarl.envs.external.vmas import option_names

        return option_names(factory.args[0])
    made = _made_by(factory)
    return list(inspect.signature(made).parameters) if made is not None else []


def _made_by(function: Callable, depth: int = 4) -> Callable | None:
    """The environment's class, or PettingZoo's customary ``raw_env``, that functions wrap."""
    raw = getattr(function, "__globals__", {}).get("raw_env")
    if isinstance(function, type) or raw is not None or depth == 0:
        return function if isinstance(function, type) else raw
    cells = getattr(function, "__closure__", None) or ()
    inner = [cell.cell_contents for cell in cells if callable(cell.cell_contents)]
    return next((made for f in inner if (made := _made_by(f, depth - 1)) is not None), None)


def _wrong_option(text: str, name: str, known: Iterable[str]) -> str:
    known = list(known)
    options = f" It takes: {', '.join(known)}" if known else ""
    return (
        f"env.external.options: {text} takes no option {name!r}{nearest(name, known, '.')}{options}"
    )
