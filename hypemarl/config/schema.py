"""Every setting, its default and its meaning: the frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from hypemarl.config.errors import ConfigError, shown
from hypemarl.config.keys import key
from hypemarl.config.shape import ShapeConfig
from hypemarl.config.yaml_text import read_text

System = Literal["density", "density-fluid", "flow", "shape", "external"]
Shape = Literal[
    "interval", "square", "square-with-disc", "channel-with-disc", "channel-with-obstacle"
]
Obstacle = Literal["circle", "ellipse", "rounded-square", "points"]
Scheme = Literal["hypemarl", "marl", "marl-mu", "fups-id", "nops", "fups-id-no-state"]
Encoder = Literal["sinusoidal", "learned", "one-hot"]
Hypernetwork = Literal["mlp", "linear", "chunked", "low-rank"]
Credit = Literal["local", "neighbourhood", "cooperative", "central", "adjoint"]
Reward = Literal["own", "neighbourhood", "global", "mixed"]
Context = Literal["target", "initial", "reynolds", "angle", "speed"]
Inflow = Literal["parabolic", "oblique", "uniform"]
Walls = Literal["no-slip", "slip"]
Objective = Literal["drag", "dissipation"]
ArcAction = Literal["normal", "normal-tangential"]
LinearSolver = Literal["auto", "lu", "redundant", "mumps", "iterative"]
Device = Literal["auto", "cpu", "cuda"]
Method = Literal["td3", "apg", "imitate", "irl", "mbpg", "dyna"]
SurrogateForm = Literal["auto", "flux", "local"]
SurrogateCost = Literal["auto", "formula", "corrected", "learned"]


@dataclass(frozen=True)
class MeshConfig:
    """Where the mesh comes from."""

    shape: Shape = key("square", "parametric shape, ignored where `file` is given")
    file: str | None = key(None, "a mesh file with named tags (.msh, or what meshio reads)")
    files_sha256: str | None = key(
        None, "content that the mesh's files must have; a run stores it, null takes any"
    )
    names: tuple[str, ...] = key(
        (), "entries ours=theirs, theirs a group's name or number in file; [] keeps the file's"
    )
    facet_file: str | None = key(
        None, "a second file with tagged facets, for a pair of XDMF (or other meshio) files"
    )
    merge_distance: float = key(
        0.0, "points of file at most this far apart become one; 0 merges none", low=0
    )
    element_size: float = key(0.05, "target edge length", above=0)
    lower: float = key(-1.0, "lower end of every coordinate")
    upper: float = key(1.0, "upper end of every coordinate")
    disc_radius: float = key(0.15, "radius of the disc (square-with-disc: at the origin)", above=0)
    disc_centre: tuple[float, ...] = key((0.2, 0.2), "centre of a channel's disc or obstacle")
    disc_element_size: float | None = key(
        None, "edge length at a channel's disc or obstacle; null takes a third of element_size"
    )
    obstacle: Obstacle = key("circle", "outline of channel-with-obstacle; points: obstacle_file")
    obstacle_length: float = key(0.1, "diameter, axis, side or chord of the obstacle", above=0)
    obstacle_ratio: float = key(0.5, "ellipse: second axis over obstacle_length", above=0)
    obstacle_rounding: float = key(
        0.5, "rounded-square: radius of its corners over half its side", above=0, high=1
    )
    obstacle_angle: float = key(
        0.0, "anticlockwise turn of the obstacle in rad", low=-3.2, high=3.2
    )
    obstacle_file: str | None = key(
        None,
        "points: x y per line around a closed curve, first point again at the end, or Lednicer",
    )
    length: float = key(2.2, "length of the channel (0, length) x (0, height)", above=0)
    height: float = key(0.41, "height of the channel", above=0)


@dataclass(frozen=True)
class FlowConfig:
    """An incompressible flow: boundary data, discretisation, arc actuation and objective."""

    inflow: Inflow = key(
        "parabolic",
        "parabolic: 6 U s (H - s) / H^2; oblique: (U cos a, 4 U s (H - s) / H^2 sin a); uniform: "
        "U (cos a, sin a), at the side walls too (shape)",
    )
    walls: Walls = key("no-slip", "side walls: no-slip, or slip (no flow through them)")
    speed: float = key(1.0, "U, mean (parabolic) or entrance (oblique) velocity", above=0)
    reynolds_low: float = key(
        100.0,
        "lowest Re = U D / viscosity, D the disc's diameter (shape: of the circle of equal area)",
        above=0,
    )
    reynolds_high: float = key(100.0, "highest Re", above=0)
    angle_low: float = key(0.0, "lowest inflow angle a in rad (oblique)", low=-1.5, high=1.5)
    angle_high: float = key(0.0, "highest inflow angle", low=-1.5, high=1.5)
    speed_low: float = key(0.1, "density-fluid: lowest entrance velocity", low=0)
    speed_high: float = key(1.0, "density-fluid: highest entrance velocity", above=0)
    viscosity: float = key(0.01, "density-fluid: viscosity of the flow", above=0)
    time_step: float = key(0.002, "time step of the unsteady solver", above=0)
    cfl_limit: float = key(
        2.0,
        "largest Courant number of a time step; control intervals of a flow beyond it take shorter "
        "ones, an eighth at least",
        above=0,
    )
    linear_solver: LinearSolver = key(
        "auto", "auto: PETSc's LU (a copy per rank), MUMPS on larger, iterative on large meshes"
    )
    objective: Objective = key("drag", "drag (with lift fluctuation) or dissipation")
    drag_weight: float = key(1.0, "weight of the drag coefficient in J", low=0)
    lift_weight: float = key(0.2, "weight of the squared lift coefficient in J", low=0)
    action: ArcAction = key("normal", "velocity components that an agent sets on its arc")
    arc_low: float = key(0.0, "first angle of the actuated arc, degrees anticlockwise from +x")
    arc_high: float = key(360.0, "last angle of the actuated arc; 360 further: the whole disc")
    ramp: float = key(1.0, "share of a control interval over which actions ramp", above=0, high=1)
    probe_distances: tuple[float, ...] = key(
        (0.1, 0.35, 0.8), "distances of an agent's probes from the disc, in diameters", low=0
    )
    states: int = key(8, "developed states that training episodes start from", low=1)
    develop_time: float = key(10.0, "time of flow, from rest, before a state counts", above=0)


@dataclass(frozen=True)
class ExternalConfig:
    """An environment that is no PDE: any PettingZoo ParallelEnv with continuous actions."""

    source: str = key(
        "", "pettingzoo:MODULE:FACTORY, vmas:SCENARIO or mamujoco:ROBOT[:PARTITION] (docs/homes.md)"
    )
    options: tuple[str, ...] = key(
        (), "arguments of what makes it, each as name=value with the value in YAML"
    )
    repeat: int = key(
        1, "steps of the environment that make a control step, under the same actions", low=1
    )
    scaling_episodes: int = key(
        0, "random episodes whose observations centre and scale all; 0: left as they are", low=0
    )
    sha256: str = key(
        "", "of the source's Python files when the run began; `train` fills it in (docs/homes.md)"
    )

    @property
    def arguments(self) -> dict[str, Any]:
        """The options by name. Raises :class:`ConfigError` where one is no ``name=value``."""
        found: dict[str, Any] = {}
        for option in self.options:
            name, equals, text = option.partition("=")
            name = name.strip()
            if not equals or not name.isidentifier():
                raise ConfigError(
                    f"env.external.options: expected name=value, as in n_agents=4, got "
                    f"{shown(option)}",
                    "env.external.options",
                )
            if name in found:
                raise ConfigError(
                    f"env.external.options: {shown(name)} stands there twice",
                    "env.external.options",
                )
            found[name] = read_text(text, f"env.external.options: {shown(option)}").content
        return found


@dataclass(frozen=True)
class EnvConfig:
    """The controlled system, its cost and what the agents see. Units: the equations' own."""

    system: System = key("density", "which plant is built")
    mesh: MeshConfig = field(default_factory=MeshConfig, metadata={"help": "the mesh"})
    flow: FlowConfig = field(default_factory=FlowConfig, metadata={"help": "the flow"})
    shape: ShapeConfig = field(
        default_factory=ShapeConfig, metadata={"help": "an obstacle whose boundary agents move"}
    )
    external: ExternalConfig = field(
        default_factory=ExternalConfig, metadata={"help": "an external environment"}
    )
    agents: tuple[int, ...] = key(
        (8, 8), "agents per axis of their grid over the domain; flow: one number, on the arc", low=1
    )
    drop_agents_outside: bool = key(
        False, "density: leave out agents whose boxes of the grid lie outside the domain"
    )
    viscosity: float = key(1e-3, "nu, the diffusion coefficient of the density", above=0)
    horizon: float = key(2.0, "T, length of an episode", above=0)
    control_steps: int = key(20, "control intervals in an episode; external: at most", low=1)
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
    context: tuple[Context, ...] = key(
        ("target",), "what mu holds: target (c_d), initial (c0), reynolds, angle, speed"
    )
    observation_radius: int = key(1, "patches seen to each side of the own one", low=0)
    observe_target: bool = key(False, "also observe the target density of the seen patches")
    observe_flow: bool = key(True, "density-fluid: also observe the mean flow over the own patch")
    reward: Reward = key(
        "own", "own, neighbourhood (mean), global (mean), or mixed (see reward_mix)"
    )
    reward_radius: int = key(
        2, "patches to each side that the neighbourhood reward averages", low=0
    )
    reward_mix: float = key(
        0.5, "mixed: share of the global reward, the rest is own", low=0, high=1
    )
    reward_baseline: bool = key(
        False, "flow: rewards count from the cost of the episode's first state, left uncontrolled"
    )
    divergence_limit: float = key(1e6, "a cost per interval above this ends the episode", above=0)

    @property
    def control_interval(self) -> float:
        """Length of one control interval."""
        return self.horizon / self.control_steps


@dataclass(frozen=True)
class SurrogateConfig:
    """The learned local model of the dynamics, and how policies are improved in it."""

    form: SurrogateForm = key(
        "auto",
        "flux (what neighbours exchange, conserves the density), local (each next state); auto: "
        "flux where the state is a density",
    )
    cost: SurrogateCost = key(
        "auto",
        "formula (of predicted states and actions, as in the plant), corrected (and a learned "
        "rest), learned; auto: formula where there is one",
    )
    hidden: tuple[int, ...] = key((64, 64), "hidden layers of its networks", low=1)
    radius: int = key(1, "agents to each side whose states and actions it reads (local)", low=0)
    memory: int = key(2, "states before the present one that it reads", low=0)
    ensemble: int = key(1, "networks that learn side by side; each imagines its own share", low=1)
    cutoff: float = key(
        0.0,
        "imagined steps end where the ensemble's spread exceeds so many times its error; 0: never",
        low=0,
    )
    rate: float = key(2e-3, "Adam rate of its fit", above=0)
    batch: int = key(16, "pieces of real episodes in a fit", low=1)
    rollout: int = key(3, "control steps that a fit predicts in a row", low=1)
    first_fits: int = key(800, "fits after the random episodes", low=1)
    fits: int = key(160, "fits whenever new episodes came", low=1)
    every: int = key(4, "real episodes between fits", low=1)
    imagine: int = key(4, "mbpg: imagined episodes in an update of the actor", low=1)
    first_updates: int = key(150, "mbpg: updates of the actor after the first fits", low=1)
    updates: int = key(30, "mbpg: updates of the actor after later fits", low=1)
    window: int = key(
        0, "mbpg: control steps that are imagined, from anywhere; 0: whole episodes", low=0
    )
    policy_rate: float = key(4e-3, "mbpg: Adam rate of the actor", above=0)
    policy_average_rate: float = key(
        0.02, "mbpg: rate of the averaged actor, per update", above=0, high=1
    )
    imagined_per_real: int = key(
        10, "dyna: imagined episodes per real one, and updates in proportion", low=1
    )


@dataclass(frozen=True)
class AgentConfig:
    """Sharing scheme, networks and TD3. Defaults are the paper's where it states them."""

    scheme: Scheme = key(
        "hypemarl",
        "hypemarl, marl (local state only), marl-mu (and mu), fups-id, nops, fups-id-no-state "
        "(policies see place and mu alone)",
    )
    credit: Credit = key(
        "cooperative", "local (the papers'), neighbourhood, cooperative, central, adjoint"
    )
    credit_radius: int = key(
        2, "near agents, in patches, of neighbourhood and cooperative credit", low=0
    )
    encoder: Encoder = key(
        "sinusoidal", "an agent's code: sinusoidal (of its position), learned (embedding), one-hot"
    )
    embedding_size: int = key(32, "d, entries of a learned embedding", low=1)
    encoding_size: int = key(2048, "d, entries of the sinusoidal encoding of the position", low=1)
    encoding_frequency: float = key(
        8.0, "highest angular frequency, in rad per agent spacing", above=0
    )
    hypernetwork: Hypernetwork = key(
        "mlp", "mlp, linear (context to weights), chunked (weights in pieces), low-rank"
    )
    hyper_width: int = key(256, "width of the hypernetworks' hidden layers", low=1)
    hyper_depth: int = key(1, "hidden layers of the hypernetworks", low=1)
    hyper_chunk: int = key(64, "chunked: weights that are made at a time", low=1)
    hyper_chunk_embedding: int = key(8, "chunked: entries of the embedding of a chunk", low=1)
    hyper_rank: int = key(4, "low-rank: rank of what is generated of each layer", low=1)
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
    time_left: bool = key(
        False, "critics see the time left, and nothing is earned past the horizon"
    )
    trace: float = key(
        0.0, "lambda of the critics' returns along the episode; 0: one step, as TD3", low=0, high=1
    )
    reward_clip: float = key(0.0, "clip of scaled rewards, +-; 0 switches it off", low=0)
    cloning: float = key(
        0.0,
        "weight in the actor loss of the distance to the actions of the replay (TD3+BC), or with "
        "credit adjoint to better ones",
        low=0,
    )
    adjoint_step: float = key(
        0.1, "credit adjoint: how far better actions lie along -dJ/da, in action bounds", low=0
    )
    average_rate: float = key(
        0.005, "rate of the averaged (EMA) actor that is evaluated and shipped", above=0, high=1
    )
    batch_episodes: int = key(3, "episodes in a batch; all their agents are in it", low=1)
    batch_steps: int = key(0, "time steps per episode in a batch; 0 takes all", low=0)
    replay_episodes: int = key(1000, "episodes kept for replay, the oldest go first", low=1)
    apg_rate: float = key(1e-3, "apg: Adam rate of the actor at the start", above=0)
    apg_rate_end: float = key(
        0.05, "apg: share of the rate that is left at the end (cosine between)", above=0, high=1
    )
    apg_batch: int = key(1, "apg: windows whose gradients are averaged in an update", low=1)
    apg_window: int = key(
        0, "apg: control steps that a gradient goes back through; 0: the whole episode", low=0
    )
    apg_value_rate: float = key(
        1e-3, "apg: Adam rate of the value at the end of a window inside the episode", above=0
    )
    apg_average_rate: float = key(
        0.02, "apg: rate of the averaged actor, from the first update on", above=0, high=1
    )
    apg_noise: float = key(
        0.0, "apg: standard deviation of noise on the actions, in units of their bound", low=0
    )
    apg_state_clip: float = key(
        0.0, "apg: largest norm of the state's sensitivity between intervals; 0: no clip", low=0
    )
    imitate_episodes: int = key(
        20, "imitate, irl: first episodes, which show open-loop optima", low=1
    )
    imitate_evaluations: int = key(
        60, "imitate, irl: largest number of gradients that the search for one of them takes", low=1
    )
    imitate_updates: int = key(100, "imitate: updates of the actor after each of them", low=1)
    imitate_rate: float = key(1e-3, "imitate: Adam rate of these updates", above=0)
    imitate_apg_share: float = key(
        0.15, "imitate: share of apg_rate that the episodes after these begin with", above=0, high=1
    )
    irl_rate: float = key(1e-3, "irl: Adam rate of the learned reward", above=0)
    surrogate: SurrogateConfig = field(
        default_factory=SurrogateConfig, metadata={"help": "the local model of the dynamics"}
    )


@dataclass(frozen=True)
class TrainingConfig:
    """The collect and update loop."""

    method: Method = key(
        "td3",
        "td3, apg (adjoint policy gradient), imitate (optima first, then apg), irl (td3 on a "
        "reward learned from optima), mbpg (policy gradient through a learned local model), dyna "
        "(td3 on episodes imagined by it)",
    )
    episodes: int = key(400, "episodes of training", low=1)
    random_episodes: int = key(25, "first episodes with random actions and no updates", low=1)
    random_scale: float = key(0.5, "standard deviation of random actions, in action bounds", low=0)
    updates_per_step: float = key(1.0, "updates per control step after the random episodes", low=0)
    validation_every: int = key(25, "episodes between validations; 0 switches them off", low=0)
    validation_size: int = key(8, "number of mu in the validation set", low=1)
    held_out_size: int = key(32, "number of mu in the held-out set of `evaluate`", low=1)
    checkpoint_every: int = key(50, "episodes between checkpoints of the last state", low=1)
    diagnose_every: int = key(
        0, "episodes between diagnostics in the metrics; 0 switches them off", low=0
    )
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
