"""Fitted yardsticks and policies in files."""

from __future__ import annotations

import argparse
from pathlib import Path

from hypemarl.cli.output import say, table_text, write_json
from hypemarl.cli.settings import check_trust, expanded, load_config, named_seeds

WORTH = ("time", "mu", "feedback", "place")


def do_yardsticks(arguments: argparse.Namespace) -> None:
    """Fit the yardsticks, and evaluate them on the held-out set."""
    from hypemarl.envs import make
    from hypemarl.training import evaluation, shares, summary, table, yardsticks

    config = load_config(arguments)
    check_trust(config)
    env, budget = make(config.env), yardsticks.Budget(arguments.episodes)

    def show(kind: str, episode: int, cost: float) -> None:
        if not arguments.quiet:
            say(f"{kind} {episode}/{budget.episodes}: validation cost {cost:.5g}")

    try:
        for seed in named_seeds(arguments) or []:
            files = yardsticks.fit_all(env, config, seed, budget, show, fresh=arguments.fresh)
            if arguments.output is not None:
                _copy(files, Path(arguments.output), seed)
        if arguments.fit_only:
            return
        held_out = evaluation.fixed_set(env, config.training.held_out_size, "held-out")
        row = summary.shared_row(env, held_out, shares.known_optima(env, held_out))
        row |= {} if env.plant is None else {table.RATIO: 1.0}
    finally:
        env.close()
    rows = table.singles(row) + table.optimum_row(row)
    shown = table.columns(rows) | {"name": "policy"}
    shown = {key: text for key, text in shown.items() if any(key in entry for entry in rows)}
    say(f"{config.scenario}, {row['held_out']} held-out parameters\n{table_text(rows, shown)}")
    worth = table.worth([row])
    say_worth(worth)
    numbers = {name: value for name, value in row.items() if not isinstance(value, list)}
    write_json(arguments.json, numbers | worth | {"rows": table.records([row])})


def say_worth(worth: dict[str, float]) -> None:
    """Print the known gains in recovered share by time, mu, feedback and place."""
    known = {name: worth[f"worth_of_{name}"] for name in WORTH if f"worth_of_{name}" in worth}
    if known:
        parts = ", ".join(f"{name} {value:+.3f}" for name, value in known.items())
        say(f"worth in recovered share: {parts}")


def _copy(files: list[Path], folder: Path, seed: int) -> None:
    """Copy fitted policies into a folder under short names. Collective; rank 0 writes."""
    from hypemarl import mpi
    from hypemarl.agents.policy_file import load_policy, read_about, save_policy

    with mpi.raise_together(mpi.world()):
        if mpi.world().rank == 0:
            for file in files:
                about = read_about(file)
                path = folder / f"{about['name']}-seed{seed}.npz"
                save_policy(path, load_policy(file), about)


def do_export(arguments: argparse.Namespace) -> None:
    """Write the policies of runs as files that load without the solver."""
    from hypemarl import mpi
    from hypemarl.agents.policy import PolicyAgent
    from hypemarl.agents.policy_file import NetworkPolicy, save_policy
    from hypemarl.agents.schemes import variant
    from hypemarl.envs import make
    from hypemarl.training.learner import label
    from hypemarl.training.records import RunFolder
    from hypemarl.training.summary import trained_policy

    for run in expanded(arguments.runs):
        folder = RunFolder(run)
        config = folder.read_config()
        check_trust(config)
        env = make(config.env)
        _, agent = trained_policy(folder, env, config, mpi.world())
        env.close()
        path = Path(arguments.output) / f"{run.parent.name}-{run.name}.npz"
        about = {"name": run.parent.name, "scenario": config.scenario, "seed": config.seed}
        about |= {"scheme": config.agent.scheme, "algorithm": config.training.algorithm}
        about |= {"policy": f"{variant(config.agent)} ({label(config)})"}  # its name in tables
        with mpi.raise_together(mpi.world()):
            if isinstance(agent, PolicyAgent):
                save_policy(path, NetworkPolicy(agent), about)
        say(f"written {path}")
