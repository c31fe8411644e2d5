"""The options of every command."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, get_args

import hypemarl
from hypemarl import config as configuration
from hypemarl import studies
from hypemarl.cli import handlers, new, train, yardsticks
from hypemarl.cli.output import cut_words
from hypemarl.cli.settings import folder, integer, number, picture
from hypemarl.config.keys import Displacement


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit as the base class does, with long values cut short."""
        super().error(cut_words(message))


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(
        prog="hypemarl",
        description="Many local agents control a parametric PDE; one hypernetwork makes them.",
        epilog="example: hypemarl train density-1d --set agent.gamma=0.95 --seed 1",
    )
    parser.add_argument("--version", action="version", version=f"hypemarl {hypemarl.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_setup_commands(commands)
    _add_train(commands)
    _add_optimum(commands)
    _add_reports(commands)
    _add_checks(commands)
    _add_tables(commands)
    _add_yardsticks(commands)
    _add_demo(commands)
    return parser


type Commands = argparse._SubParsersAction[_Parser]


def _command(
    commands: Commands,
    handler: Callable[[argparse.Namespace], int | None],
    text: str,
    example: str,
    aliases: Sequence[str] = (),
) -> argparse.ArgumentParser:
    name = handler.__name__.removeprefix("do_")
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        aliases=aliases,
        help=text,
        description=f"{text}.",
        epilog=f"example: hypemarl {name} {example}",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument(
        "--use",
        action="append",
        default=[],
        metavar="CODE",
        help="import MODULE or FILE.py, whose systems and algorithms are then known by name; "
        "CODE:NAME takes one; may be repeated",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="import any code and environment that the run or the file names",
    )
    parser.set_defaults(handler=handler)
    return parser


def _add_configuration(parser: argparse.ArgumentParser, **scenario: Any) -> None:
    """``--set``, after a scenario where its settings are passed."""
    if scenario:
        text = "a scenario's name, a YAML file, or a problem of your own (FILE.py:CLASS)"
        parser.add_argument("scenario", metavar="SCENARIO", help=text, **scenario)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key (hypemarl list --keys); may be repeated",
    )


def _add_environment(parser: argparse.ArgumentParser) -> None:
    """A scenario, or an environment that is no PDE."""
    parser.add_argument(
        "--env",
        metavar="SOURCE",
        help="an external environment: pettingzoo:MODULE:FACTORY, "
        "pettingzoo:FILE.py:FACTORY, vmas:SCENARIO or mamujoco:ROBOT[:PARTITION]; without SCENARIO "
        "its own settings, or those of `external`",
    )
    _add_configuration(parser, nargs="?")


def _add_runs(parser: argparse.ArgumentParser) -> None:
    """Runs, and the ``--env`` that names their environment again."""
    text = "run folder, or a folder of them"
    parser.add_argument("runs", type=folder, metavar="RUN", nargs="+", help=text)
    _add_env(parser)


def _add_env(parser: argparse.ArgumentParser) -> None:
    text = "import this external environment, which the run or the file names"
    parser.add_argument("--env", metavar="SOURCE", help=text)


def _add_run(parser: argparse.ArgumentParser, text: str, default: str | None = None) -> None:
    parser.add_argument("--run", type=folder, metavar="DIR", default=default, help=text)


def _add_seeds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=integer(0), nargs="+", default=[0], help="default: 0")


def _add_json(parser: argparse.ArgumentParser, text: str = "also write one flat object") -> None:
    parser.add_argument("--json", metavar="FILE", help=text)


def _add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    cores = os.cpu_count() or 1
    parser.add_argument("--jobs", type=integer(), default=cores, help="default: all cores")
    _add_quiet(parser)


def _add_setup_commands(commands: Commands) -> None:
    parser = _command(commands, handlers.do_list, "List scenarios, schemes and keys", "--keys")
    parser.add_argument("--keys", action="store_true", help="every key, its default and meaning")

    text = "Write NAME.py, a PDE in UFL with agents, to start a problem of your own from"
    parser = _command(commands, new.do_new, text, "mypde")
    parser.add_argument("name", metavar="NAME", help="of the file and of its class")

    text = "Build a mesh, check it, print its sizes, quality and tags, write, draw and morph it"
    parser = _command(commands, handlers.do_mesh, text, "density-1d --output meshes/line.msh")
    _add_configuration(parser, nargs="?", default="density-vacuum")
    parser.add_argument("--shape", choices=configuration.choices("env.mesh.shape"))
    parser.add_argument(
        "--element-size", type=number(above=0.0), metavar="H", help="target edge length"
    )
    parser.add_argument("--output", metavar="FILE", help=".msh, or a format that meshio writes")
    parser.add_argument("--picture", metavar="FILE", help="draw the (morphed) mesh: .png, .pdf")
    parser.add_argument(
        "--morph",
        choices=get_args(Displacement),
        help="move the obstacle by random amplitudes, see --set seed=1",
    )
    parser.add_argument(
        "--agents", type=integer(), default=16, help="agents that move it (default: 16)"
    )
    parser.add_argument(
        "--amplitudes",
        type=number(),
        nargs="+",
        metavar="A",
        help="shares of the largest amplitude, one per agent (free-form: two); default: random",
    )

    text = "Run one episode without learning and print its cost terms"
    parser = _command(commands, handlers.do_simulate, text, "density-1d --policy hand-made")
    _add_environment(parser)
    parser.add_argument(
        "--policy",
        choices=("uncontrolled", "hand-made", "constant", "random"),
        default="uncontrolled",
        help="hand-made: the plant's baseline actions (constant: their old name)",
    )
    parser.add_argument("--output", metavar="DIR", help="also write DIR/trajectory.npz")


def _names(key: str) -> str:
    """Help on a choice that ``--use`` may add to."""
    return f"{', '.join(configuration.choices(key))}, or one of your own (--use)"


def _add_train(commands: Commands) -> None:
    text = "Train agents; Ctrl-C saves the last whole episode"
    example = "density-1d --scheme marl --seeds 0 1 2 3 --jobs 2 --run runs/marl"
    parser = _command(commands, train.do_train, text, example)
    _add_environment(parser)
    parser.add_argument("--scheme", metavar="SCHEME", help=_names("agent.scheme"))
    parser.add_argument("--credit", choices=configuration.choices("agent.credit"))
    parser.add_argument("--train", metavar="ALGORITHM", help=_names("training.algorithm"))
    seed = parser.add_mutually_exclusive_group()
    seed.add_argument("--seed", type=integer(0), help="root seed of the run")
    seed.add_argument(
        "--seeds", type=integer(0), nargs="+", help="one run per seed, in DIR/seed<N>"
    )
    parser.add_argument("--episodes", type=integer(), help="short for training.episodes")
    _add_run(parser, "run folder (default: runs/<scenario>-<scheme>-<algorithm>-seed<N>)")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    again.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    parser.add_argument(
        "--jobs", type=integer(), default=1, help="seeds trained at a time (default 1)"
    )
    parser.add_argument(
        "--ranks-per-env",
        type=integer(),
        metavar="R",
        help="under mpirun -n N: N/R environments at once, each on R ranks (default: one on all)",
    )
    _add_quiet(parser)


def _add_reports(commands: Commands) -> None:
    """Commands that read runs."""
    text = "Evaluate runs on held-out parameters; one table row per scheme"
    example = "runs/marl runs/hypemarl --json result.json"
    parser = _command(commands, handlers.do_evaluate, text, example)
    _add_evaluation(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="env.KEY=VALUE",
        help="change the environment after the training, as in env.horizon=200; the policies are "
        "told of other places of agents, and nothing is written to the runs; may be repeated",
    )
    text = "Evaluate runs and draw their training curves"
    example = "runs/marl runs/hypemarl --output curves.png"
    parser = _command(commands, handlers.do_compare, text, example)
    _add_evaluation(parser)
    parser.add_argument("--output", type=picture, metavar="PNG", default="curves.png")

    text = (
        "Report how agents share: conflict and noise of their gradients, diversity of their actions"
    )
    example = "runs/hypemarl/seed0 --json diagnosis.json"
    parser = _command(commands, handlers.do_diagnose, text, example)
    _add_runs(parser)
    parser.add_argument("--episodes", type=integer(), default=4, help="new episodes (default 4)")
    _add_json(parser, "also write one flat object per run")

    text = "Map the recovered share over two parameters, up to a fifth beyond the training range"
    example = "runs/apg/seed0 --parameters target_x target_y"
    parser = _command(commands, handlers.do_map, text, example)
    parser.add_argument("runs", type=folder, metavar="RUN", nargs="+", help="runs of one problem")
    parser.add_argument("--parameters", nargs=2, required=True, metavar="NAME")
    parser.add_argument(
        "--size", type=integer(2), default=7, help="values per parameter (default 7)"
    )
    parser.add_argument("--output", type=picture, metavar="PNG", default="share-map.png")
    text = "Make film, stills and policy map of a run"
    parser = _command(commands, handlers.do_render, text, "runs/hypemarl/seed0 --index 3")
    parser.add_argument(
        "run", type=folder, metavar="RUN", help="a run folder, or one with a trajectory.npz"
    )
    parser.add_argument("--index", type=integer(0), help="record this held-out parameter anew")
    parser.add_argument("--no-film", action="store_true", help="stills only")


def _add_optimum(commands: Commands) -> None:
    text = "Find the open-loop optimum by exact gradients and store it, so that `evaluate` reports "
    text += "the recovered share"
    parser = _command(
        commands, handlers.do_optimum, text, "density-vacuum --held-out 32 --run runs/optimum"
    )
    _add_configuration(parser, nargs=None)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--mu", type=number(), nargs="+", help="all parameters of the episode")
    which.add_argument("--index", type=integer(0), nargs="+", help="rows of the held-out set")
    which.add_argument(
        "--held-out", type=integer(), metavar="N", help="its first N rows (default: all)"
    )
    parser.add_argument(
        "--tolerance",
        type=number(above=0.0),
        default=1e-4,
        help="size of the projected gradient over that at zero control, at which the search ends "
        "(default 1e-4)",
    )
    parser.add_argument("--max-evaluations", type=integer(), default=400, help="default 400")
    parser.add_argument(
        "--start", type=folder, metavar="RUN", help="search from the actions of this run's policy"
    )
    text = "where no optimum is stored, search also from zero, yardsticks and the nearest optimum"
    parser.add_argument("--several", action="store_true", help=text)
    text = "write the actions to a file that hypemarl.load_policy reads"
    parser.add_argument("--export", metavar="FILE", help=text)
    _add_run(parser, "record the first episode there, for render")
    _add_json(parser, "also write the rows")
    _add_quiet(parser)


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    _add_runs(parser)
    parser.add_argument("--episodes", type=integer(), help="size of the held-out set")
    parser.add_argument("--last", action="store_true", help="evaluate the last checkpoint, too")
    _add_json(parser)


def _add_checks(commands: Commands) -> None:
    text = "Compare computed numbers with known ones; exit status 1 where one is off"
    parser = _command(commands, handlers.do_validate, text, "ou --json ou.json")
    parser.add_argument("case", metavar="CASE", help="ou, gibbs, mass, ..., or all")
    _add_json(parser)

    text = "Time a hot path beside its peers"
    parser = _command(commands, handlers.do_bench, text, "density-step --json step.json")
    parser.add_argument("name", metavar="NAME", help="density-step, agent-update, reset, ...")
    _add_json(parser)


def _add_tables(commands: Any) -> None:
    """The command that produces the tables of docs/results."""
    text = "Train, evaluate, tabulate and draw an experiment or a table of docs/results over "
    text += "several seeds; finished runs are kept"
    parser = _command(commands, handlers.do_experiment, text, "density --jobs 2", ["results"])
    names = ", ".join((*studies.NAMES, *studies.TABLES))
    parser.add_argument("name", metavar="NAME", help=names)
    text = "default: the study's scenarios (docs/experiments.md)"
    parser.add_argument("scenario", metavar="SCENARIO", nargs="*", help=text)
    parser.add_argument("--scenario", dest="scenarios", nargs="+", help=argparse.SUPPRESS)
    _add_configuration(parser)
    _add_env(parser)
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="only these entries")
    parser.add_argument("--seeds", type=integer(0), nargs="+", help="default: as in the docs")
    parser.add_argument(
        "--finished-only", action="store_true", help="tabulate finished runs, train nothing"
    )
    parser.add_argument("--episodes", type=integer(), help="size of the held-out set")
    parser.add_argument("--runs", metavar="DIR", help="default: runs, or runs/EXPERIMENT")
    parser.add_argument("--output", metavar="DIR", default="docs/results")
    _add_jobs(parser)


def _add_yardsticks(commands: Any) -> None:
    text = "Fit best constants, schedules and linear feedback, and show what time, mu and feedback "
    text += "are worth"
    parser = _command(commands, yardsticks.do_yardsticks, text, "density-1d --seeds 0 1 2")
    _add_environment(parser)
    _add_seeds(parser)
    parser.add_argument(
        "--episodes", type=integer(), default=400, help="of each fit (default: 400)"
    )
    parser.add_argument("--output", metavar="DIR", help="also write the policies there")
    parser.add_argument("--fresh", action="store_true", help="repeat the fits that are stored")
    parser.add_argument("--fit-only", action="store_true", help="evaluate nothing")
    _add_json(parser, "also write the numbers")
    _add_quiet(parser)

    text = "Write policies of runs as files that hypemarl.load_policy reads, without the solver"
    parser = _command(commands, yardsticks.do_export, text, "runs/demo --output policies")
    _add_runs(parser)
    parser.add_argument("--output", metavar="DIR", default="policies", help="default: policies")


def _add_demo(commands: Commands) -> None:
    text = (
        "Train HypeMARL and MARL side by side, on density-1d or SCENARIO, compare and draw them. "
    )
    text += "Finished runs in the folder are kept, unfinished ones resumed, runs with other "
    text += "settings replaced"
    parser = _command(commands, handlers.do_demo, text, "--seeds 0 1 --run runs/demo")
    _add_configuration(parser, nargs="?", default="density-1d")
    _add_seeds(parser)
    parser.add_argument("--train", metavar="ALGORITHM", help=_names("training.algorithm"))
    parser.add_argument("--episodes", type=integer(), help="short for training.episodes")
    text = "fit constants, schedules and feedback with N episodes each, to compare with"
    parser.add_argument("--yardsticks", type=integer(), metavar="N", help=text)
    _add_run(parser, "default: runs/demo", "runs/demo")
    parser.add_argument("--fresh", action="store_true", help="train again in any case")
    _add_jobs(parser)
