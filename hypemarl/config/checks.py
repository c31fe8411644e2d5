"""Settings that are fine one by one and cannot work together."""

from hypemarl.config.errors import ConfigError, quoted, refuse
from hypemarl.config.registry import ALGORITHMS, SCHEMES, SYSTEMS
from hypemarl.config.schema import Config, MeshConfig


def check_combinations(config: Config) -> None:
    """Settings of a problem that cannot work together; for those of agents see below."""
    _check_mesh_file(config.env.mesh)
    SYSTEMS.get(config.env.system).check(config)
    context, known = config.env.context, SYSTEMS.get(config.env.system).parameters
    for name in context:
        if known and name not in (*known, "all"):
            raise ConfigError(
                f"env.context: expected names out of {', '.join(known)}, got {quoted(name)}",
                "env.context",
            )
    if len(set(context)) < len(context):
        raise ConfigError(f"env.context repeats {list(context)}")


def check_training(config: Config) -> None:
    """Settings of agents and of training that nothing can be trained with; no other use minds.

    Raises:
        ConfigError: names them, and what to set instead.
    """
    SYSTEMS.get(config.env.system).check_training(config)
    ALGORITHMS.get(config.training.algorithm).check(config)
    env, agent = config.env, config.agent
    axes = len(env.agents)
    refuse(
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
            SCHEMES.get(agent.scheme).has_codes
            and agent.encoder == "sinusoidal"
            and agent.encoding_size < 2 * axes,
            f"agent.encoding_size ({agent.encoding_size}) must be at least {2 * axes}: a sine and "
            f"a cosine for each of {axes} axes",
        ),
    )


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
