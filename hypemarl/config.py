"""Every setting, its default and its meaning, in one place: frozen dataclasses <-> YAML.

A scenario (``hypemarl/scenarios/<name>.yaml``) or a user's YAML file holds only what differs from
the defaults here; command-line overrides (``agent.gamma=0.95``) come last. Unknown keys are fatal,
and so are combinations that cannot work: :func:`load` names them.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

SCENARIOS = Path(__file__).parent / "scenarios"

Shape = Literal["interval", "square", "square-with-disc"]
Scheme = Literal["hypemarl", "marl", "fups-id", "nops"]
Credit = Literal["local", "neighbourhood", "cooperative", "central"]
Reward = Literal["own", "neighbourhood", "global", "mixed"]
Context = Literal["target", "initial"]
Device = Literal["auto", "cpu", "cuda"]


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type, out of range, or at odds with another."""


def key(
    default: Any,
    explanation: str,
    *,
    above: float | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """A dataclass field with its explanation, which ``hypemarl list --keys`` prints.

    Values (every entry, of a tuple) must be ``> above``, ``>= low`` and ``<= high``.
    """
    return field(
        default=default,
        metadata={"help": explanation, "above": above, "low": low, "high": high},
    )


@dataclass(frozen=True)
class MeshConfig:
    """Where the mesh comes from."""

    shape: Shape = key("square", "parametric shape, ignored where `file` is given")
    file: str | None = key(None, "a mesh file with named tags (.msh, or what meshio reads)")
    element_size: float = key(0.05, "target edge length", above=0)
    lower: float = key(-1.0, "lower end of every coordinate")
    upper: float = key(1.0, "upper end of every coordinate")
    disc_radius: float = key(0.15, "radius of the disc at the origin (square-with-disc)", above=0)


@dataclass(frozen=True)
class EnvConfig:
    """The controlled system, its cost and what the agents see. Units: the equations' own."""

    system: Literal["density"] = key("density", "which plant is built")
    mesh: MeshConfig = field(default_factory=MeshConfig, metadata={"help": "the mesh"})
    agents: tuple[int, ...] = key((8, 8), "agents per axis of their grid over the domain", low=1)
    viscosity: float = key(1e-3, "nu, the diffusion coefficient", above=0)
    horizon: float = key(2.0, "T, length of an episode", above=0)
    control_steps: int = key(20, "control intervals in an episode", low=1)
    max_time_step: float = key(
        0.01, "upper bound of the solver's time step (CFL may lower it)", above=0
    )
    u_max: float = key(1.0, "bound of every velocity amplitude, |u| <= u_max", above=0)
    beta: float = key(0.05, "weight of 1/2 ||u||^2", low=0)
    beta_g: float = key(0.01, "weight of 1/2 ||grad u||^2", low=0)
    boundary_weight: float = key(0.1, "weight of 1/2 ||y||^2 on the boundary", low=0)
    initial_low: tuple[float, ...] = key((-0.5, -0.5), "lower corner of the box of c0")
    initial_high: tuple[float, ...] = key((0.0, 0.5), "upper corner of the box of c0")
    target_low: tuple[float, ...] = key((0.0, -0.5), "lower corner of the box of c_d")
    target_high: tuple[float, ...] = key((0.5, 0.5), "upper corner of the box of c_d")
    context: tuple[Context, ...] = key(("target",), "what mu holds: target (c_d), initial (c0)")
    observation_radius: int = key(1, "patches seen to each side of the own one", low=0)
    observe_target: bool = key(False, "also observe the target density of the seen patches")
    reward: Reward = key(
        "own", "own, neighbourhood (mean), global (mean), or mixed (see reward_mix)"
    )
    reward_radius: int = key(
        2, "patches to each side that the neighbourhood reward averages", low=0
    )
    reward_mix: float = key(
        0.5, "mixed: share of the global reward, the rest is own", low=0, high=1
    )
    divergence_limit: float = key(1e6, "a cost per interval above this ends the episode", above=0)

    @property
    def control_interval(self) -> float:
        """Length of one control interval."""
        return self.horizon / self.control_steps


@dataclass(frozen=True)
class AgentConfig:
    """Sharing scheme, networks and TD3. Defaults are the paper's where it states them."""

    scheme: Scheme = key("hypemarl", "hypemarl, marl (local state only), fups-id, nops")
    credit: Credit = key("cooperative", "local (the papers'), neighbourhood, cooperative, central")
    credit_radius: int = key(
        2, "near agents, in patches, of neighbourhood and cooperative credit", low=0
    )
    encoding_size: int = key(2048, "d, entries of the sinusoidal encoding of the position", low=1)
    encoding_frequency: float = key(
        8.0, "highest angular frequency, in rad per agent spacing", above=0
    )
    hyper_width: int = key(256, "width of the hypernetworks' hidden layers", low=1)
    hyper_depth: int = key(1, "hidden layers of the hypernetworks", low=1)
    actor_hidden: tuple[int, ...] = key((64,), "hidden layers of each agent's policy", low=1)
    critic_hidden: tuple[int, ...] = key(
        (64,), "hidden layers of each agent's value networks", low=1
    )
    output_gain: float = key(
        0.1, "scale of the policy's last layer at the start (near zero control)", low=0
    )
    map_channels: int = key(32, "channels of the central map critic", low=1)
    actor_rate: float = key(1e-6, "Adam rate of the actor (paper: 1e-6)", above=0)
    critic_rate: float = key(5e-5, "Adam rate of the critics (paper: 5e-5)", above=0)
    gamma: float = key(0.99, "discount per control step", low=0, high=1)
    tau: float = key(0.005, "rate of the target networks", above=0, high=1)
    policy_delay: int = key(2, "critic updates per actor update", low=1)
    target_noise: float = key(0.2, "target smoothing, in units of the action bound", low=0)
    target_noise_clip: float = key(0.5, "clip of the target smoothing, same units", low=0)
    exploration_noise: float = key(0.25, "standard deviation of exploration, same units", low=0)
    noise_smoothing: float = key(
        0.0, "0: white in time and over agents; towards 1: smooth in both", low=0, high=0.999
    )
    huber: bool = key(True, "Huber in place of squared loss of the critics")
    gradient_clip: float = key(1.0, "largest gradient norm; 0 switches it off", low=0)
    reward_scale: float = key(1.0, "factor on rewards before they are clipped and learned", above=0)
    reward_clip: float = key(0.0, "clip of scaled rewards, +-; 0 switches it off", low=0)
    cloning: float = key(
        0.0, "weight of the behaviour-cloning term in the actor loss (TD3+BC)", low=0
    )
    average_rate: float = key(
        0.005, "rate of the averaged (EMA) actor that is evaluated and shipped", above=0, high=1
    )
    batch_episodes: int = key(3, "episodes in a batch; all their agents are in it", low=1)
    batch_steps: int = key(0, "time steps per episode in a batch; 0 takes all", low=0)
    replay_episodes: int = key(1000, "episodes kept for replay, the oldest go first", low=1)


@dataclass(frozen=True)
class TrainingConfig:
    """The collect and update loop."""

    episodes: int = key(400, "episodes of training", low=1)
    random_episodes: int = key(25, "first episodes with random actions and no updates", low=1)
    random_scale: float = key(0.5, "standard deviation of random actions, in action bounds", low=0)
    updates_per_step: float = key(1.0, "updates per control step after the random episodes", low=0)
    validation_every: int = key(25, "episodes between validations; 0 switches them off", low=0)
    validation_size: int = key(8, "number of mu in the validation set", low=1)
    held_out_size: int = key(32, "number of mu in the held-out set of `evaluate`", low=1)
    checkpoint_every: int = key(50, "episodes between checkpoints of the last state", low=1)
    device: Device = key("auto", "auto (CUDA when present), cpu or cuda")
    threads: int = key(1, "torch threads on the CPU; more help one run on idle cores", low=1)
    tensorboard: bool = key(True, "also write TensorBoard events")


@dataclass(frozen=True)
class Config:
    """A whole run."""

    scenario: str = key("density-vacuum", "name of the scenario this started from")
    description: str = key("", "what the scenario is, in a line")
    seed: int = key(0, "root seed: every generator derives from it", low=0)
    env: EnvConfig = field(default_factory=EnvConfig, metadata={"help": "the environment"})
    agent: AgentConfig = field(default_factory=AgentConfig, metadata={"help": "the agents"})
    training: TrainingConfig = field(
        default_factory=TrainingConfig, metadata={"help": "the training loop"}
    )


def load(source: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a scenario or a YAML file, with overrides applied last.

    ``source`` is a scenario's name or the path of a YAML file; a file may name its base by
    ``scenario: density-1d`` and then holds differences only. ``overrides`` are like
    ``agent.gamma=0.95``, the value in YAML. Rank-local. Raises :class:`ConfigError`.
    """
    settings = _read(source)
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"override {override!r}: expected key=value, as in agent.gamma=0.95")
        if name.strip() == "scenario":
            raise ConfigError("override 'scenario': a scenario is chosen by its name, not by --set")
        _put(settings, name.strip().split("."), _parse(text, f"override {override!r}"))
    return from_dict(settings)


def from_dict(settings: Mapping[str, Any]) -> Config:
    """A checked :class:`Config` from nested mappings; what is missing keeps its default."""
    config: Config = _build(Config, settings, "")
    _check_combinations(config)
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """Nested dictionaries with lists in place of tuples: what YAML, JSON and checkpoints hold."""
    return {
        name: to_dict(value)
        if dataclasses.is_dataclass(value)
        else (list(value) if isinstance(value, tuple) else value)
        for name, value in ((f.name, getattr(config, f.name)) for f in dataclasses.fields(config))
    }


def to_yaml(config: Config) -> str:
    """The whole configuration as YAML, which :func:`load` reads back to an equal one."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def scenarios() -> list[str]:
    """Names of the scenarios that come with the package, sorted."""
    return sorted(path.stem for path in SCENARIOS.glob("*.yaml"))


def choices(name: str) -> tuple[str, ...]:
    """What a key such as ``agent.scheme`` may be, for keys that are a choice."""
    hints = {full: hint for full, _, hint in _keys(Config)}
    return typing.get_args(hints[name])


def explain() -> str:
    """Every key with its type, default, range and explanation, one line each."""
    return "\n".join(
        f"{name} = {yaml_value(item.default)}  # {item.metadata['help']} "
        f"[{_spell(hint)}{_range(item)}]"
        for name, item, hint in _keys(Config)
    )


def yaml_value(value: Any) -> str:
    """A value as it may be written after ``key=`` on the command line."""
    listed = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(listed, default_flow_style=True)
    return text.removesuffix("...\n").strip()


def _keys(cls: type, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[item.name]):
            yield from _keys(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, item, hints[item.name]


def _read(source: str | Path) -> dict[str, Any]:
    if str(source) in scenarios():
        path = SCENARIOS / f"{source}.yaml"
    else:
        path = Path(source)
        if not path.is_file():
            near = difflib.get_close_matches(str(source), scenarios(), 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ConfigError(
                f"no scenario or file {str(source)!r}{hint} Scenarios: {', '.join(scenarios())}"
            )
    settings = _parse(path.read_text(encoding="utf-8"), str(path)) or {}
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(settings).__name__}")
    base = settings.get("scenario")
    if base is None or path.parent == SCENARIOS:
        return settings
    if base not in scenarios():
        raise ConfigError(f"{path}: scenario {base!r} is none of {', '.join(scenarios())}")
    return _merge(_read(base), settings)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        old = merged.get(name)
        nested = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = _merge(old, value) if nested and isinstance(old, dict) else value
    return merged


def _put(settings: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        inner = settings.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{'.'.join(path)}: {name} is a single value, it holds no keys")
        settings = inner
    settings[path[-1]] = value


def _build(cls: Any, settings: Any, prefix: str) -> Any:
    if not isinstance(settings, Mapping):
        where = prefix.rstrip(".") or "configuration"
        raise ConfigError(f"{where}: expected keys and values, got {settings!r}")
    items = {item.name: item for item in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in items:
            raise ConfigError(_unknown(prefix, str(name), list(items)))
        if dataclasses.is_dataclass(hints[name]):
            values[name] = _build(hints[name], value, f"{prefix}{name}.")
        else:
            values[name] = _convert(value, hints[name], prefix + name)
            _check_range(values[name], items[name], prefix + name)
    return cls(**values)


def _unknown(prefix: str, name: str, siblings: list[str]) -> str:
    known = [full for full, _, _ in _keys(Config)]
    near = [prefix + close for close in difflib.get_close_matches(name, siblings, 1)]
    near += [full for full in known if full.rsplit(".")[-1] == name]
    near += difflib.get_close_matches(prefix + name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"unknown key {prefix + name!r}{hint} Keys here: {', '.join(siblings)}"


def _convert(value: Any, hint: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{name}: expected one of {', '.join(arguments)}, got {value!r}")
        return value
    if origin is types.UnionType:
        return None if value is None else _convert(value, arguments[0], name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{name}: expected a list, as in [1, 2], got {value!r}")
        return tuple(_convert(entry, arguments[0], f"{name}[{i}]") for i, entry in enumerate(value))
    if hint is float and not isinstance(value, bool):
        return _convert_float(value, name)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{name}: expected {_spell(hint)}, got {value!r}")
    return value


def _convert_float(value: Any, name: str) -> float:
    try:  # YAML 1.1 reads 1e-6 as text; it means a number here
        number = float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name}: expected a number, got {value!r}") from None
    if not math.isfinite(number):
        raise ConfigError(f"{name}: expected a finite number, got {value!r}")
    return number


def _spell(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "|".join(arguments)
    if origin is tuple:
        return f"[{_spell(arguments[0])}, ...]"
    if origin is types.UnionType:
        return " or ".join("null" if a is type(None) else _spell(a) for a in arguments)
    return {int: "integer", float: "number", bool: "true|false", str: "text"}[hint]


def _range(item: dataclasses.Field[Any]) -> str:
    limits = [
        f"{sign} {item.metadata[name]:g}"
        for name, sign in (("above", ">"), ("low", ">="), ("high", "<="))
        if item.metadata.get(name) is not None
    ]
    return f" {' and '.join(limits)}" if limits else ""


def _check_range(value: Any, item: dataclasses.Field[Any], name: str) -> None:
    above, low, high = (item.metadata.get(limit) for limit in ("above", "low", "high"))
    for entry in value if isinstance(value, tuple) else (value,):
        if (
            (above is not None and not entry > above)
            or (low is not None and not entry >= low)
            or (high is not None and not entry <= high)
        ):
            raise ConfigError(f"{name}: expected a value{_range(item)}, got {entry!r}")


def _check_combinations(config: Config) -> None:
    """Settings that are fine one by one and cannot work together."""
    _check_geometry(config.env)
    _check_boxes(config.env)
    env, agent, training = config.env, config.agent, config.training
    axes = len(env.agents)
    for fails, message in (
        (
            agent.batch_steps > env.control_steps,
            f"agent.batch_steps ({agent.batch_steps}) exceeds env.control_steps "
            f"({env.control_steps}), the length of an episode",
        ),
        (
            training.random_episodes >= training.episodes,
            f"training.random_episodes ({training.random_episodes}) must be smaller than "
            f"training.episodes ({training.episodes}), or nothing is learned",
        ),
        (
            agent.batch_episodes > agent.replay_episodes,
            f"agent.batch_episodes ({agent.batch_episodes}) exceeds agent.replay_episodes "
            f"({agent.replay_episodes})",
        ),
        (
            agent.credit == "central" and min(env.agents) < 3,
            f"agent.credit=central needs 3 or more agents per axis, env.agents is "
            f"{list(env.agents)}; take agent.credit=cooperative",
        ),
        (
            agent.credit in ("neighbourhood", "cooperative") and agent.credit_radius < 1,
            f"agent.credit={agent.credit} with agent.credit_radius=0 has no near agents; "
            "take a radius of 1 or more, or agent.credit=local",
        ),
        (
            agent.scheme in ("hypemarl", "fups-id") and agent.encoding_size < 2 * axes,
            f"agent.encoding_size ({agent.encoding_size}) must be at least {2 * axes}: a sine and "
            f"a cosine for each of {axes} axes",
        ),
        (len(set(env.context)) < len(env.context), f"env.context repeats {list(env.context)}"),
    ):
        if fails:
            raise ConfigError(message)


def _check_geometry(env: EnvConfig) -> None:
    mesh = env.mesh
    width = mesh.upper - mesh.lower
    if width <= 0:
        raise ConfigError(f"env.mesh.lower ({mesh.lower}) must be below upper ({mesh.upper})")
    if len(env.agents) not in (1, 2):
        raise ConfigError(f"env.agents: expected 1 or 2 axes, got {list(env.agents)}")
    if mesh.file is not None:
        return
    dimension = 1 if mesh.shape == "interval" else 2
    if len(env.agents) != dimension:
        raise ConfigError(
            f"env.agents {list(env.agents)} has {len(env.agents)} axes, but env.mesh.shape="
            f"{mesh.shape} has {dimension}; give one number of agents per axis"
        )
    if mesh.shape == "square-with-disc" and 2 * mesh.disc_radius >= width:
        raise ConfigError(f"env.mesh.disc_radius ({mesh.disc_radius}) does not fit width {width}")
    if mesh.element_size > width / max(env.agents):
        raise ConfigError(
            f"env.mesh.element_size ({mesh.element_size}) exceeds an agent's patch "
            f"({width / max(env.agents):g}); take smaller elements or fewer agents"
        )


def _check_boxes(env: EnvConfig) -> None:
    axes = len(env.agents)
    for name in ("initial", "target"):
        low, high = getattr(env, f"{name}_low"), getattr(env, f"{name}_high")
        if len(low) != axes or len(high) != axes:
            raise ConfigError(
                f"env.{name}_low and env.{name}_high need {axes} entries, one per axis of "
                f"env.agents, got {list(low)} and {list(high)}"
            )
        if any(a > b for a, b in zip(low, high, strict=True)):
            raise ConfigError(f"env.{name}_low {list(low)} exceeds env.{name}_high {list(high)}")
        outside = min(low) < env.mesh.lower or max(high) > env.mesh.upper
        if env.mesh.file is None and outside:
            raise ConfigError(
                f"env.{name}_low {list(low)} .. env.{name}_high {list(high)} leaves the domain "
                f"[{env.mesh.lower}, {env.mesh.upper}]"
            )
