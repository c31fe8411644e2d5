"""Every setting, its default and its meaning: the frozen dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hypemarl.config.errors import ConfigError
from hypemarl.config.keys import key, sections
from hypemarl.config.registry import ALGORITHMS, SCHEMES, SYSTEMS

Shape = Literal[
    "interval", "square", "square-with-disc", "channel-with-disc", "channel-with-obstacle"
]
Obstacle = Literal["circle", "ellipse", "rounded-square", "points"]
Encoder = Literal["sinusoidal", "learned", "one-hot"]
Hypernetwork = Literal["mlp", "linear", "chunked", "low-rank"]
Credit = Literal["local", "neighbourhood", "cooperative", "central", "adjoint"]
Reward = Literal["own", "neighbourhood", "global", "mixed"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class MeshConfig:
    """Source of the mesh: a shape or a file."""

    shape: Shape = key("square", "parametric shape, ignored if `file` is set")
    file: str | None = key(None, "mesh file with named tags (.msh, or read by meshio)")
    files_sha256: str | None = key(None, "SHA-256 of the mesh files, stored by a run; null: any")
    names: tuple[str, ...] = key(
        (), "entries tag=group, group a name or number in the file; []: the names in the file"
    )
    facet_file: str | None = key(None, "second file with the tagged facets (pair of XDMF files)")
    merge_distance: float = key(
        0.0, "merge points of the file within this distance; 0: none", low=0
    )
    element_size: float = key(0.05, "target edge length", above=0)
    lower: float = key(-1.0, "lower end of every coordinate")
    upper: float = key(1.0, "upper end of every coordinate")
    disc_radius: float = key(0.15, "radius of the disc (square-with-disc: at the origin)", above=0)
    disc_centre: tuple[float, ...] = key((0.2, 0.2), "centre of a channel's disc or obstacle")
    disc_element_size: float | None = key(None, "edge length on the body; null: element_size / 3")
    obstacle: Obstacle = key("circle", "outline of channel-with-obstacle; points: obstacle_file")
    obstacle_length: float = key(0.1, "diameter, axis, side or chord of the obstacle", above=0)
    obstacle_ratio: float = key(0.5, "ellipse: second axis over obstacle_length", above=0)
    obstacle_rounding: float = key(
        0.5, "rounded-square: radius of its corners over half its side", above=0, high=1
    )
    obstacle_angle: float = key(
        0.0, "anticlockwise rotation of the obstacle, rad", low=-3.2, high=3.2
    )
    obstacle_file: str | None = key(
        None, "points: closed curve, x y on each line, or Lednicer format"
    )
    length: float = key(2.2, "length of the channel (0, length) x (0, height)", above=0)
    height: float = key(0.41, "height of the channel", above=0)


@dataclass(frozen=True)
class EnvConfig:
    """The controlled system, its agents and their rewards, in the units of the equations.

    ``options`` are the settings of the system, in YAML under its name.
    """

    system: str = key("density", "the controlled system", names=SYSTEMS)
    options: object = sections(SYSTEMS, "system")
    mesh: MeshConfig = field(default_factory=MeshConfig, metadata={"help": "the mesh"})
    agents: tuple[int, ...] = key(
        (8, 8),
        "agents per axis of the grid over the domain; flow: one number, along the arc",
        low=1,
    )
    horizon: float = key(2.0, "T, length of an episode", above=0)
    control_steps: int = key(20, "control intervals per episode; external: upper limit", low=1)
    context: tuple[str, ...] = key(
        ("usual",),
        "parameters in mu: target (c_d), initial (c0), reynolds, angle, speed, ...; [all]: every "
        "one; [usual]: the default of the system",
    )
    observation_radius: int = key(1, "patches observed on each side of the agent's own", low=0)
    reward: Reward = key("own", "own, neighbourhood (mean), global (mean), mixed (see reward_mix)")
    reward_radius: int = key(2, "patches on each side in the mean of reward=neighbourhood", low=0)
    reward_mix: float = key(0.5, "mixed: share of the global reward, the rest own", low=0, high=1)
    reward_baseline: bool = key(
        False, "flow, shape: rewards relative to the uncontrolled initial cost"
    )
    divergence_limit: float = key(1e6, "a larger cost per interval ends the episode", above=0)

    def __post_init__(self) -> None:
        """Fill in what depends on the system. Raises ConfigError for another one's options."""
        system = SYSTEMS.get(self.system)
        if self.options is None:
            object.__setattr__(self, "options", system.options())
        if self.context == ("usual",):
            object.__setattr__(self, "context", system.context)
        if type(self.options) is not system.options:
            raise ConfigError(
                f"env.options: expected {system.options.__name__} of system {self.system}, got "
                f"{type(self.options).__name__}"
            )

    @property
    def control_interval(self) -> float:
        """Length of one control interval."""
        return self.horizon / self.control_steps


def options_of[T](env: EnvConfig, options: type[T]) -> T:
    """The options of a system, whose dataclass (or a base of it) is ``options``.

    Raises:
        TypeError: the environment is of another system.
    """
    if not isinstance(env.options, options):
        raise TypeError(f"expected {options.__name__}, got those of system {env.system}")
    return env.options


@dataclass(frozen=True)
class AgentConfig:
    """Sharing scheme, networks and TD3. Defaults are the paper's where it states them."""

    scheme: str = key(
        "hypemarl",
        "hypemarl, marl (local state only), marl-mu (local state and mu), fups-id, nops, "
        "fups-id-no-state (position and mu only)",
        names=SCHEMES,
    )
    credit: Credit = key(
        "cooperative", "local (the papers'), neighbourhood, cooperative, central, adjoint"
    )
    credit_radius: int = key(2, "radius in patches of neighbourhood and cooperative credit", low=0)
    encoder: Encoder = key(
        "sinusoidal", "code of an agent: sinusoidal (from position), learned (embedding), one-hot"
    )
    embedding_size: int = key(32, "d, entries of a learned embedding", low=1)
    encoding_size: int = key(2048, "d, entries of the sinusoidal encoding of the position", low=1)
    encoding_frequency: float = key(8.0, "highest angular frequency, rad / agent spacing", above=0)
    hypernetwork: Hypernetwork = key("mlp", "mlp, linear, chunked (weights in pieces), low-rank")
    hyper_width: int = key(256, "width of the hypernetworks' hidden layers", low=1)
    hyper_depth: int = key(1, "hidden layers of the hypernetworks", low=1)
    hyper_chunk: int = key(64, "chunked: weights generated at a time", low=1)
    hyper_chunk_embedding: int = key(8, "chunked: entries of a chunk's embedding", low=1)
    hyper_rank: int = key(4, "low-rank: rank of the generated part of a layer", low=1)
    actor_hidden: tuple[int, ...] = key((64,), "hidden layers of each agent's policy", low=1)
    critic_hidden: tuple[int, ...] = key((64,), "hidden layers of each agent's critics", low=1)
    output_gain: float = key(
        0.1, "initial scale of the last policy layer; small: weak control", low=0
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
        0.0, "0: white in time and over agents; near 1: smooth in both", low=0, high=0.999
    )
    huber: bool = key(True, "Huber loss for the critics instead of the squared loss")
    gradient_clip: float = key(1.0, "largest gradient norm; 0: no clipping", low=0)
    reward_scale: float = key(1.0, "factor on rewards, applied before clipping", above=0)
    time_left: bool = key(False, "critics see the time remaining; no value past the horizon")
    trace: float = key(0.0, "lambda of the critics' returns; 0: one step, as in TD3", low=0, high=1)
    reward_clip: float = key(0.0, "bound on the size of scaled rewards; 0: no clipping", low=0)
    cloning: float = key(
        0.0,
        "weight in the actor loss of the distance to the replayed actions (TD3+BC), or, with "
        "credit adjoint, to improved ones",
        low=0,
    )
    adjoint_step: float = key(
        0.1, "credit adjoint: step along -dJ/da, in units of the bound", low=0
    )
    average_rate: float = key(
        0.005, "rate of the averaged (EMA) actor, which is evaluated and exported", above=0, high=1
    )
    batch_episodes: int = key(3, "episodes in a batch, each with all its agents", low=1)
    batch_steps: int = key(0, "control steps per episode in a batch; 0: all", low=0)
    replay_episodes: int = key(1000, "episodes in the replay; the oldest are dropped first", low=1)
    algorithms: Mapping[str, object] = sections(ALGORITHMS)

    def __post_init__(self) -> None:
        """Fill in the defaults of the algorithms that are missing."""
        all_of_them = {a.name: self.algorithms.get(a.name) or a.options() for a in ALGORITHMS}
        object.__setattr__(self, "algorithms", all_of_them)

    def of[T](self, options: type[T]) -> T:
        """The settings of an algorithm, by their dataclass."""
        return next((o for o in self.algorithms.values() if type(o) is options), options())


@dataclass(frozen=True)
class TrainingConfig:
    """The training loop: episodes, updates, validation and records."""

    algorithm: str = key("td3", "learning algorithm of the agents", names=ALGORITHMS)
    episodes: int = key(400, "episodes of training", low=1)
    random_episodes: int = key(25, "initial episodes with random actions and no updates", low=1)
    random_scale: float = key(
        0.5, "standard deviation of random actions, in units of the bound", low=0
    )
    updates_per_step: float = key(1.0, "updates per control step after the random episodes", low=0)
    validation_every: int = key(25, "episodes between validations; 0: never", low=0)
    validation_size: int = key(8, "number of mu in the validation set", low=1)
    held_out_size: int = key(32, "number of mu in the held-out set of `evaluate`", low=1)
    checkpoint_every: int = key(50, "episodes between checkpoints of the last state", low=1)
    diagnose_every: int = key(0, "episodes between diagnostic records; 0: never", low=0)
    device: Device = key("auto", "auto (CUDA if available), cpu or cuda")
    threads: int = key(
        1, "torch threads on the CPU; more speed up a single run on idle cores", low=1
    )
    tensorboard: bool = key(True, "also write TensorBoard events")


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    scenario: str = key("density-vacuum", "name of the scenario that the settings started from")
    description: str = key("", "one-line description of the scenario")
    seed: int = key(0, "root seed: every generator derives from it", low=0)
    code: tuple[str, ...] = key((), "code named by --use, with its SHA-256, stored by a run")
    env: EnvConfig = field(default_factory=EnvConfig, metadata={"help": "the environment"})
    agent: AgentConfig = field(default_factory=AgentConfig, metadata={"help": "the agents"})
    training: TrainingConfig = field(
        default_factory=TrainingConfig, metadata={"help": "the training loop"}
    )
