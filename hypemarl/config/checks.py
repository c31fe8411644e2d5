"""Settings that are fine one by one and cannot work together."""

from __future__ import annotations

from hypemarl.config.errors import ConfigError
from hypemarl.config.ranges import misordered
from hypemarl.config.schema import Config, EnvConfig, MeshConfig
from hypemarl.config.shape_checks import check_shape


def check_combinations(config: Config) -> None:
    """Settings of a problem that cannot work together; for those of agents see below."""
    _check_mesh_file(config.env.mesh)
    if config.env.system == "external":
        _ = config.env.external.arguments  # raises where one is malformed
    elif config.env.system == "flow":
        _check_flow(config.env)
    elif config.env.system == "shape":
        check_shape(config.env)
    else:
        _check_geometry(config.env)
        _check_boxes(config.env)
    if config.env.system == "density-fluid":
        _check_carrier(config.env)
    env = config.env
    for fails, message in (
        (
            env.reward_baseline and env.system not in ("flow", "shape"),
            f"env.reward_baseline needs env.system=flow or shape, got {env.system}: the cost of an "
            "uncontrolled density changes too fast to count from",
        ),
        (
            bool(env.external.source) and env.system != "external",
            f"env.external.source={env.external.source} needs env.system=external, got "
            f"{env.system}: leave the scenario out, or name one of an external environment",
        ),
        (len(set(env.context)) < len(env.context), f"env.context repeats {list(env.context)}"),
    ):
        if fails:
            raise ConfigError(message)


def check_training(config: Config) -> None:
    """Settings of agents and of training that nothing can be trained with; no other use minds.

    Raises:
        ConfigError: names them, and what to set instead.
    """
    if config.env.system == "external":
        _check_external(config)
    env, agent, training = config.env, config.agent, config.training
    axes = 1 if env.system == "external" else len(env.agents)
    for fails, message in (
        (
            training.method not in ("apg", "imitate") and agent.batch_steps > env.control_steps,
            f"agent.batch_steps ({agent.batch_steps}) exceeds env.control_steps "
            f"({env.control_steps}), the length of an episode; set agent.batch_steps="
            f"{env.control_steps} or less too, or 0 for whole episodes",
        ),
        (
            agent.credit == "adjoint" and not agent.cloning,
            "agent.credit=adjoint enters by the cloning term; set agent.cloning above 0",
        ),
        (
            agent.trace > 0 and agent.batch_steps > 0,
            f"agent.trace ({agent.trace:g}) needs whole episodes, got agent.batch_steps="
            f"{agent.batch_steps}; take agent.batch_steps=0",
        ),
        (
            training.method in ("td3", "mbpg", "dyna")
            and training.random_episodes >= training.episodes,
            f"training.random_episodes ({training.random_episodes}) must be smaller than "
            f"training.episodes ({training.episodes}), or nothing is learned",
        ),
        (
            training.method == "imitate" and agent.imitate_episodes > training.episodes,
            f"agent.imitate_episodes ({agent.imitate_episodes}) exceeds training.episodes "
            f"({training.episodes})",
        ),
        (
            training.method == "irl"
            and agent.imitate_episodes + training.random_episodes >= training.episodes,
            f"agent.imitate_episodes ({agent.imitate_episodes}) and training.random_episodes "
            f"({training.random_episodes}) leave none of training.episodes ({training.episodes})",
        ),
        (
            training.method in ("apg", "imitate") and agent.apg_window > env.control_steps,
            f"agent.apg_window ({agent.apg_window}) exceeds env.control_steps "
            f"({env.control_steps}), the length of an episode; 0 takes the whole of it",
        ),
        (
            training.method == "mbpg" and agent.surrogate.window > env.control_steps,
            f"agent.surrogate.window ({agent.surrogate.window}) exceeds env.control_steps "
            f"({env.control_steps}), the length of an episode; 0 takes the whole of it",
        ),
        (
            agent.surrogate.cutoff > 0 and agent.surrogate.ensemble < 2,
            f"agent.surrogate.cutoff ({agent.surrogate.cutoff:g}) compares the members of an "
            "ensemble; set agent.surrogate.ensemble to 2 or more, or the cutoff to 0",
        ),
        (
            training.method == "dyna" and env.reward_baseline,
            "training.method=dyna makes rewards of imagined costs, env.reward_baseline of a first "
            "real state; set env.reward_baseline=false, or take training.method=mbpg",
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
            agent.credit in ("neighbourhood", "cooperative", "adjoint") and agent.credit_radius < 1,
            f"agent.credit={agent.credit} with agent.credit_radius=0 has no near agents; "
            "take a radius of 1 or more, or agent.credit=local",
        ),
        (
            agent.scheme in ("hypemarl", "fups-id", "fups-id-no-state")
            and agent.encoder == "sinusoidal"
            and agent.encoding_size < 2 * axes,
            f"agent.encoding_size ({agent.encoding_size}) must be at least {2 * axes}: a sine and "
            f"a cosine for each of {axes} axes",
        ),
    ):
        if fails:
            raise ConfigError(message)


def _check_external(config: Config) -> None:
    agent, method = config.agent, config.training.method
    for fails, message in (
        (
            method != "td3",
            f"training.method={method} needs the plant's adjoint or its local states, which an "
            "external environment does not offer; take td3",
        ),
        (
            agent.credit == "adjoint",
            "agent.credit=adjoint needs the adjoint of the plant, which an external environment "
            "does not offer; take local, neighbourhood or cooperative",
        ),
        (
            agent.credit == "central",
            "agent.credit=central needs agents on a grid, an external environment has none; take "
            "cooperative with a large agent.credit_radius, which is a central critic there",
        ),
    ):
        if fails:
            raise ConfigError(message)


def _check_mesh_file(mesh: MeshConfig) -> None:
    for entry in mesh.names:
        ours, equals, theirs = entry.partition("=")
        if not (ours.strip() and equals and theirs.strip()):
            raise ConfigError(
                f"env.mesh.names: expected entries ours=theirs, as in [inflow=Inlet], got {entry!r}"
            )
    for name in ("names", "facet_file", "merge_distance"):
        if getattr(mesh, name) and mesh.file is None:
            raise ConfigError(f"env.mesh.{name} is for a mesh file; give env.mesh.file as well")


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


def _check_flow(env: EnvConfig) -> None:
    flow, mesh = env.flow, env.mesh
    span, interval = flow.arc_high - flow.arc_low, env.control_interval
    for fails, message in (
        (
            len(env.agents) != 1,
            f"env.agents: a flow's agents share an arc, expected one number, got "
            f"{list(env.agents)}",
        ),
        (
            mesh.file is None and mesh.shape != "channel-with-disc",
            f"env.mesh.shape={mesh.shape} has no disc in a channel; env.system=flow needs "
            "channel-with-disc or a mesh file",
        ),
        *misordered(flow, "reynolds", "angle"),
        (
            not 0 < span <= 360,
            f"env.flow.arc_high - arc_low: expected more than 0 and at most 360 degrees, got "
            f"{span:g}",
        ),
        (
            flow.time_step > interval,
            f"env.flow.time_step ({flow.time_step:g}) exceeds the control interval "
            f"({interval:g} = horizon / control_steps)",
        ),
        (
            abs(interval / flow.time_step - round(interval / flow.time_step)) > 1e-9,
            f"env.flow.time_step ({flow.time_step:g}) must divide the control interval "
            f"({interval:g} = horizon / control_steps), which holds "
            f"{interval / flow.time_step:.6g} time steps; take "
            f"{interval / max(1, round(interval / flow.time_step)):.6g}",
        ),
        (
            flow.inflow == "uniform",
            "env.flow.inflow=uniform is that of env.system=shape; take parabolic or oblique",
        ),
        (
            flow.inflow == "parabolic" and (flow.angle_low, flow.angle_high) != (0.0, 0.0),
            "env.flow.angle_low, angle_high: a parabolic inflow has no angle; leave them 0 or take "
            "env.flow.inflow=oblique",
        ),
        (
            not flow.probe_distances,
            "env.flow.probe_distances is empty: agents would see nothing of the flow",
        ),
    ):
        if fails:
            raise ConfigError(message)


def _check_carrier(env: EnvConfig) -> None:
    flow, mesh = env.flow, env.mesh
    for fails, message in (
        (
            mesh.file is None and mesh.shape != "square-with-disc",
            f"env.mesh.shape={mesh.shape} has no disc in a square; env.system=density-fluid needs "
            "square-with-disc or a mesh file",
        ),
        *misordered(flow, "speed", "angle"),
        (
            flow.linear_solver == "iterative",
            "env.flow.linear_solver=iterative: the steady flow of env.system=density-fluid needs a "
            "factorisation; take auto, mumps or lu",
        ),
    ):
        if fails:
            raise ConfigError(message)


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
