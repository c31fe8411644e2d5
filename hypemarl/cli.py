"""The ``hypemarl`` command. Handlers only parse, call the rooms and print; rank 0 alone prints.

Heavy modules (torch, dolfinx) are imported inside the handlers that need them, so that help is
quick. Exit status: 0 done, 1 a check failed, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypemarl
from hypemarl import config as configuration
from hypemarl.config import Config, ConfigError

Arguments = argparse.Namespace


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parsed = make_parser().parse_args(arguments)
    try:
        from hypemarl import mpi

        mpi.world()
        mpi.install_excepthook()
        return int(parsed.handler(parsed) or 0)
    except KeyboardInterrupt:
        _say("hypemarl: interrupted", error=True)
        return 130
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        if parsed.debug:
            raise
        return _fail(error)


def _fail(error: Exception) -> int:
    """One clean line for an error; errors from outside the package point to ``--debug``."""
    own = type(error).__module__.partition(".")[0] == "hypemarl" or isinstance(error, OSError)
    hint = "" if own else f" ({type(error).__name__}; --debug shows where)"
    message = f"hypemarl: error: {str(error).strip() or type(error).__name__}{hint}"
    if _world_size() == 1:
        print(message, file=sys.stderr)
    else:
        _leave_together(message)
    return 2


def _leave_together(message: str) -> None:
    """Rank 0 prints an error that all ranks have; an error of some ranks only stops them all."""
    from hypemarl import mpi

    comm = mpi.world()
    if comm.rank == 0:
        print(message, file=sys.stderr, flush=True)
    arrived = comm.Ibarrier()
    for _ in range(100):
        if arrived.Test():
            return
        time.sleep(0.05)
    mpi.report_and_abort(f"rank {comm.rank}: {message}\n", status=2)


def _world_size() -> int:
    from hypemarl import mpi

    return int(mpi.MPI.COMM_WORLD.size)


def _say(text: str, *, error: bool = False) -> None:
    from hypemarl import mpi

    if mpi.MPI.COMM_WORLD.rank == 0:
        print(text, file=sys.stderr if error else sys.stdout, flush=True)


def _write_json(path: str | None, content: dict[str, Any]) -> None:
    from hypemarl import mpi
    from hypemarl.training.records import write_json

    with mpi.raise_together(mpi.world()):
        if path is not None and mpi.world().rank == 0:
            write_json(path, content)


def _table(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> str:
    from hypemarl.visualisation.table import format_table

    return format_table(rows, columns)


# --- handlers ------------------------------------------------------------------------------------


def do_list(given: Arguments) -> None:
    """Print the scenarios, or every key."""
    if given.keys:
        _say(configuration.explain())
        return
    for name in configuration.scenarios():
        config = configuration.load(name)
        env, agents = config.env, "x".join(str(count) for count in config.env.agents)
        _say(f"{name}\n    {config.description}")
        _say(f"    {agents} agents, {env.control_steps} control steps, T = {env.horizon:g}")
    schemes = ", ".join(configuration.choices("agent.scheme"))
    credits = ", ".join(configuration.choices("agent.credit"))
    _say(f"schemes (agent.scheme): {schemes}\ncredit (agent.credit): {credits}")


def do_mesh(given: Arguments) -> None:
    """Build a mesh, print its summary, write it where asked."""
    from hypemarl import meshing, mpi

    options = {"shape": given.shape, "element_size": given.element_size}
    changes: dict[str, Any] = {name: v for name, v in options.items() if v is not None}
    base = configuration.load(given.scenario, given.set).env.mesh
    mesh = dataclasses.replace(base, **changes)  # not by --set: the agents need not fit the shape
    tagged = meshing.build(mesh, mpi.world())
    for name, value in meshing.mesh_summary(tagged).items():
        _say(f"{name:>16}  {value}")
    if given.output is not None:
        meshing.write(tagged, given.output)
        _say(f"written to {given.output}")


def do_simulate(given: Arguments) -> None:
    """Run one episode of a simple policy."""
    from hypemarl import envs
    from hypemarl.training import evaluation

    config = _load(given)
    env = envs.make(config.env)
    policies = {
        "uncontrolled": lambda: evaluation.uncontrolled(env),
        "constant": lambda: evaluation.constant(env),
        "random": lambda: evaluation.random(env, config.seed),
    }
    parameters = evaluation.parameter_set(env.parameter_low, env.parameter_high, 1, "held-out")
    result = evaluation.evaluate_policy(env, policies[given.policy](), parameters)
    _say(f"{config.scenario}, {given.policy}: cost J = {result.cost:.6g}")
    for name, value in result.terms.items():
        _say(f"{name:>20}  {value[0]:.6g}")
    if given.output is not None:
        path = Path(given.output) / "trajectory.npz"
        policy = policies[given.policy]()
        evaluation.record_trajectory(env, policy, parameters[0], path, given.policy)
        _say(f"written to {path}")


def do_train(given: Arguments) -> int:
    """Train one run, or one per seed."""
    from hypemarl.training.jobs import run_jobs

    base = _load(given)
    seeds = given.seeds or [base.seed]
    jobs = [_job(dataclasses.replace(base, seed=seed), given.run, len(seeds)) for seed in seeds]
    if given.jobs > 1 and _world_size() > 1:
        raise ConfigError("--jobs starts processes itself: leave it out under mpirun")
    if given.jobs > 1 and len(jobs) > 1:
        flags = [f"--{name}" for name in ("resume", "overwrite") if getattr(given, name)]
        run_jobs([(job, flags) for job in jobs], given.jobs, progress=not given.quiet)
        _say("\n".join(f"trained {job.run_dir}" for job in jobs))
        return 0
    return max(_train_one(job, given) for job in jobs)


def _job(config: Config, run: str | None, count: int) -> Any:
    from hypemarl.training.jobs import Job

    agent, seed = config.agent, f"seed{config.seed}"
    if run is None:
        path = Path("runs") / f"{config.scenario}-{agent.scheme}-{agent.credit}-{seed}"
    else:
        path = Path(run) / seed if count > 1 else Path(run)
    return Job(config, path)


def _train_one(job: Any, given: Arguments) -> int:
    from hypemarl.training.loop import train

    summary = train(
        job.config,
        job.run_dir,
        resume=given.resume,
        overwrite=given.overwrite,
        progress=not given.quiet,
    )
    _say(
        f"{job.run_dir}: {summary['episode']} episodes in {summary['seconds']:.0f} s, "
        f"validation cost {summary['best_cost']:.4g} at episode {summary['best_episode']} "
        f"(uncontrolled {summary['uncontrolled']:.4g})"
    )
    if summary["interrupted"]:
        _say(f"interrupted; the same command with --resume goes on from {job.run_dir}", error=True)
    return 130 if summary["interrupted"] else 0


def do_evaluate(given: Arguments) -> None:
    """Evaluate runs on the held-out set."""
    from hypemarl.training import summary

    runs = _expand(given.runs)
    summary.check_comparable(runs)
    rows = [summary.evaluate_run(run, episodes=given.episodes) for run in runs]
    _say(f"{rows[0]['scenario']}, {rows[0]['held_out']} held-out parameters")
    _say(_table(summary.summarise(rows), dict(summary.COLUMNS)))
    _write_json(given.json, summary.flat(rows))


def do_compare(given: Arguments) -> None:
    """The table of evaluated runs, and their curves."""
    do_evaluate(given)
    from hypemarl import mpi
    from hypemarl.experiments.pictures import draw_curves

    with mpi.raise_together(mpi.world()):
        if mpi.world().rank == 0:
            print(f"written {draw_curves(_expand(given.runs), given.output)}")


def do_render(given: Arguments) -> None:
    """Film, stills and policy map."""
    from hypemarl.experiments.pictures import draw_run

    for path in draw_run(given.run, index=given.index, film=not given.no_film):
        _say(f"written {path}")


def do_validate(given: Arguments) -> int:
    """Measured against expected numbers."""
    from hypemarl.verification import CASES

    names = list(CASES) if given.case == "all" else [given.case]
    _known("case", names, CASES)
    reports = {name: CASES[name]() for name in names}
    flat: dict[str, Any] = {}
    for name, report in reports.items():
        keys = ("quantity", "measured", "expected", "ok")
        rows = [dict(zip(keys, row, strict=True)) for row in report.rows]
        shown = [row | {"ok": "ok" if row["ok"] else "FAILED"} for row in rows]
        _say(f"{name}\n{_table(shown, {key: key for key in keys})}\n")
        flat |= {f"{name}: {row['quantity']}": row["measured"] for row in rows}
        flat[f"{name}_passed"] = bool(report.passed)
    passed = all(report.passed for report in reports.values())
    _write_json(given.json, flat | {"passed": passed})
    return 0 if passed else 1


def do_bench(given: Arguments) -> None:
    """Time a hot path beside its peers."""
    from hypemarl.bench import BENCHES

    _known("benchmark", [given.name], BENCHES)
    result = BENCHES[given.name]()
    for name, value in result.items():
        _say(f"{name:>24}  {value:.4g}" if isinstance(value, float) else f"{name:>24}  {value}")
    _write_json(given.json, result)


def do_demo(given: Arguments) -> None:
    """Train, compare and draw HypeMARL and MARL on density-1d."""
    from hypemarl.experiments import demo
    from hypemarl.training.summary import COLUMNS

    if _world_size() > 1:
        raise ConfigError("demo runs its processes itself: start it without mpirun")
    folder = Path(given.run)
    jobs = demo.demo_jobs(folder, given.seeds, _overrides(given))
    runs = [job.run_dir for job in jobs]
    _say(f"training {', '.join(run.name for run in runs)} into {folder}, {given.jobs} at a time")
    for run in demo.train_all(jobs, given.jobs, fresh=given.fresh, progress=not given.quiet):
        _say(f"{run} is finished already, kept")
    rows = demo.compare(folder, runs)
    _say(f"\n{demo.SCENARIO}, {jobs[0].config.training.held_out_size} held-out parameters")
    _say(_table(rows, dict(COLUMNS)))
    for path in demo.draw(folder, runs):
        _say(f"written {path}")


def _load(given: Arguments) -> Config:
    return configuration.load(given.scenario, _overrides(given))


def _overrides(given: Arguments) -> list[str]:
    """``--set`` entries, after the options that are short for some of them."""
    short = {
        "scheme": "agent.scheme",
        "credit": "agent.credit",
        "seed": "seed",
        "episodes": "training.episodes",
    }
    named = [(key, getattr(given, name, None)) for name, key in short.items()]
    return [f"{key}={value}" for key, value in named if value is not None] + given.set


def _expand(paths: Sequence[str]) -> list[Path]:
    """Run folders; a folder of runs stands for all of them."""
    runs: list[Path] = []
    for path in map(Path, paths):
        inner = sorted(file.parent for file in path.glob("*/config.yaml"))
        runs += [path] if (path / "config.yaml").is_file() or not inner else inner
    return runs


def _known(kind: str, names: Sequence[str], known: Any) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"no {kind} {name!r}; there are {', '.join(known)}, and all")


# --- parser --------------------------------------------------------------------------------------


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="hypemarl",
        description="Many local agents control a parametric PDE; one hypernetwork makes them.",
        epilog="example: hypemarl train density-1d --set agent.gamma=0.95 --seed 1",
    )
    parser.add_argument("--version", action="version", version=f"hypemarl {hypemarl.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_setup_commands(commands)
    _add_run_commands(commands)
    _add_check_commands(commands)
    return parser


def _command(commands: Any, handler: Any, text: str, example: str) -> argparse.ArgumentParser:
    name = handler.__name__.removeprefix("do_")
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text}.", epilog=f"example: hypemarl {name} {example}"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(handler=handler)
    return parser


def _add_configuration(parser: argparse.ArgumentParser, **scenario: Any) -> None:
    if scenario:
        parser.add_argument("scenario", metavar="SCENARIO", **scenario)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key (hypemarl list --keys); may be repeated",
    )


def _add_setup_commands(commands: Any) -> None:
    scenario = {"help": "a scenario's name or a YAML file"}
    parser = _command(commands, do_list, "List scenarios, schemes and keys", "--keys")
    parser.add_argument("--keys", action="store_true", help="every key, its default and meaning")

    text = "Build a mesh, print sizes, quality and tags, and write it"
    parser = _command(commands, do_mesh, text, "density-1d --output meshes/line.msh")
    _add_configuration(parser, **scenario, nargs="?", default="density-vacuum")
    parser.add_argument("--shape", choices=configuration.choices("env.mesh.shape"))
    parser.add_argument("--element-size", type=float, metavar="H", help="target edge length")
    parser.add_argument("--output", metavar="FILE", help=".msh, or what meshio writes")

    text = "Run one episode without learning and print its cost terms"
    parser = _command(commands, do_simulate, text, "density-1d --policy constant")
    _add_configuration(parser, **scenario)
    parser.add_argument(
        "--policy", choices=("uncontrolled", "constant", "random"), default="uncontrolled"
    )
    parser.add_argument("--output", metavar="DIR", help="also write DIR/trajectory.npz")


def _add_run_commands(commands: Any) -> None:
    parser = _command(
        commands,
        do_train,
        "Train agents; Ctrl-C saves the last whole episode",
        "density-1d --scheme marl --seeds 0 1 2 3 --jobs 2 --run runs/marl",
    )
    _add_configuration(parser, help="a scenario's name or a YAML file")
    parser.add_argument("--scheme", choices=configuration.choices("agent.scheme"))
    parser.add_argument("--credit", choices=configuration.choices("agent.credit"))
    seed = parser.add_mutually_exclusive_group()
    seed.add_argument("--seed", type=int, help="root seed of the run")
    seed.add_argument("--seeds", type=int, nargs="+", help="one run per seed, in DIR/seed<N>")
    parser.add_argument("--episodes", type=int, help="short for training.episodes")
    parser.add_argument("--run", metavar="DIR", help="run folder (default: runs/<what it is>)")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    again.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    parser.add_argument("--jobs", type=int, default=1, help="seeds trained at a time (default 1)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")

    text = "Evaluate runs on held-out parameters; one table row per scheme"
    parser = _command(commands, do_evaluate, text, "runs/marl runs/hypemarl --json result.json")
    _add_evaluation(parser)
    text = "Evaluate runs and draw their training curves"
    parser = _command(commands, do_compare, text, "runs/marl runs/hypemarl --output curves.png")
    _add_evaluation(parser)
    parser.add_argument("--output", metavar="PNG", default="curves.png")

    text = "Make film, stills and policy map of a run"
    parser = _command(commands, do_render, text, "runs/hypemarl/seed0 --index 3")
    parser.add_argument("run", metavar="RUN", help="a run folder, or one with a trajectory.npz")
    parser.add_argument("--index", type=int, help="record this held-out parameter anew")
    parser.add_argument("--no-film", action="store_true", help="stills only")


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help="run folder, or a folder of them")
    parser.add_argument("--episodes", type=int, help="size of the held-out set")
    parser.add_argument("--json", metavar="FILE", help="also write one flat object")


def _add_check_commands(commands: Any) -> None:
    text = "Compare computed numbers with known ones; exit status 1 where one is off"
    parser = _command(commands, do_validate, text, "ou --json ou.json")
    parser.add_argument("case", metavar="CASE", help="ou, gibbs, mass, ..., or all")
    parser.add_argument("--json", metavar="FILE", help="also write one flat object")

    text = "Time a hot path beside its peers"
    parser = _command(commands, do_bench, text, "density-step --json step.json")
    parser.add_argument("name", metavar="NAME", help="density-step, agent-update, reset, ...")
    parser.add_argument("--json", metavar="FILE", help="also write one flat object")

    parser = _command(
        commands,
        do_demo,
        "Train HypeMARL and MARL on density-1d side by side, compare and draw them. Finished runs "
        "in the folder are kept, unfinished ones resumed, runs with other settings replaced",
        "--seeds 0 1 --run runs/demo",
    )
    _add_configuration(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="default: 0")
    parser.add_argument("--episodes", type=int, help="short for training.episodes")
    parser.add_argument("--run", metavar="DIR", default="runs/demo", help="default: runs/demo")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="default: all cores")
    parser.add_argument("--fresh", action="store_true", help="train again in any case")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


if __name__ == "__main__":
    raise SystemExit(main())
