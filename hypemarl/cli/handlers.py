"""The handlers of the commands: each calls the rooms and prints.

Heavy modules (torch, dolfinx) are imported inside the handlers that need them, so that help is
quick.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hypemarl import config as configuration
from hypemarl import studies
from hypemarl.cli.output import say, table_text, world_size, write_json
from hypemarl.cli.settings import (
    check_trust,
    checked_runs,
    expanded,
    load_config,
    named_seeds,
    needs_pde,
    overrides,
)
from hypemarl.cli.yardsticks import say_worth
from hypemarl.config import ConfigError
from hypemarl.config.external import external_of
from hypemarl.config.problems import PROBLEMS
from hypemarl.config.problems import SYSTEM as PROBLEM
from hypemarl.training.children import EXIT_VAIN
from hypemarl.types import Row

Arguments = argparse.Namespace


def do_list(arguments: Arguments) -> None:
    """Print the scenarios, or every key."""
    if arguments.keys:
        say(configuration.explain())
        return
    for name in configuration.scenarios():
        config = configuration.load(name)
        env, agents = config.env, "x".join(str(count) for count in config.env.agents)
        say(f"{name}\n    {config.description}")
        if (external := external_of(env)) is not None:
            say(f"    {external.source or '--env SOURCE'}, up to {env.control_steps} steps")
            continue
        say(f"    {agents} agents, {env.control_steps} control steps, T = {env.horizon:g}")
    for entry in PROBLEMS:
        say(f"{entry.name}\n    {entry.description}")
    schemes = ", ".join(configuration.choices("agent.scheme"))
    credits = ", ".join(configuration.choices("agent.credit"))
    say(f"schemes (agent.scheme): {schemes}\ncredit (agent.credit): {credits}")


def do_mesh(arguments: Arguments) -> None:
    """Build a mesh, morph it where asked, print its summary, write and draw it.

    Raises MeshError at the end where the scenario would refuse its mesh; one that options change is
    not compared with the scenario.
    """
    from hypemarl import meshing, mpi
    from hypemarl.coupling import validation
    from hypemarl.systems.registry import system_of

    options = {"shape": arguments.shape, "element_size": arguments.element_size}
    changes: Row = {name: v for name, v in options.items() if v is not None}
    config = configuration.load(arguments.scenario, arguments.set)
    needs_pde(config, "mesh")
    if config.env.system == PROBLEM and config.env.mesh == configuration.MeshConfig():
        raise ConfigError(
            f"mesh: {config.scenario} makes its mesh itself, by the method `mesh` of its class"
        )
    # not by --set: the agents need not fit the shape
    mesh, findings = dataclasses.replace(config.env.mesh, **changes), None
    if arguments.morph is not None:
        tagged = _morphed(mesh, arguments, config.seed)
    else:
        tagged = meshing.build(mesh, mpi.world())
        examine = system_of(config.env).examine
        if examine is not None and not changes:
            findings = validation.find(config.env, tagged, examine)
        if arguments.picture is not None:
            from hypemarl.visualisation.mesh_pictures import draw_mesh

            faults = () if findings is None else findings.faults
            say(f"drawn in {draw_mesh(tagged, Path(arguments.picture), faults)}")
    for name, value in meshing.mesh_summary(tagged).items():
        say(f"{name:>16}  {value}")
    if arguments.output is not None:
        meshing.write(tagged, arguments.output)
        say(f"written to {arguments.output}")
    if findings is not None:
        for note in findings.notes:
            say(f"note: {note}")
        if findings.faults:
            raise meshing.MeshError(f"{config.scenario} refuses this mesh: {findings.message}")
        say(f"the mesh fits {config.scenario}")


def _morphed(mesh: Any, arguments: Arguments, seed: int) -> Any:
    """The mesh of a morphed obstacle; says what limits the shape, and draws it."""
    from hypemarl.visualisation import mesh_pictures

    moving = mesh_pictures.morph(
        mesh, arguments.morph, arguments.agents, arguments.amplitudes, seed
    )
    for name, value in mesh_pictures.describe(moving).items():
        say(f"{name:>16}  {value}")
    if arguments.picture is not None:
        say(f"drawn in {mesh_pictures.draw_morph(moving, Path(arguments.picture))}")
    return moving.tagged


def do_simulate(arguments: Arguments) -> int:
    """Run one episode of a simple policy; exit status 3 where it fails."""
    from hypemarl import envs
    from hypemarl.training import evaluation

    config = load_config(arguments)
    if arguments.output is not None:
        needs_pde(config, "simulate --output")
    check_trust(config)
    env = envs.make(config.env)
    policies = {name.replace("_", "-"): policy for name, policy in evaluation.BASELINES.items()}
    policies["constant"] = policies["hand-made"]  # its name in version 0.1
    policies["random"] = lambda env: evaluation.random(env, config.seed)
    parameters = evaluation.fixed_set(env, 1, "held-out")
    result = evaluation.evaluate_policy(env, policies[arguments.policy](env), parameters)
    if result.failure is not None:
        say(
            f"{config.scenario}, {arguments.policy}: the episode failed: {result.failure}",
            error=True,
        )
    else:
        say(f"{config.scenario}, {arguments.policy}: cost J = {result.cost:.6g}")
        for name, value in (result.terms | result.metrics).items():
            say(f"{name:>20}  {value[0]:.6g}")
    if arguments.output is not None:
        path = Path(arguments.output) / "trajectory.npz"
        policy = policies[arguments.policy](env)
        evaluation.record_trajectory(env, policy, parameters[0], path, arguments.policy)
        say(f"written to {path}")
    return EXIT_VAIN if result.failure is not None else 0


def do_optimum(arguments: Arguments) -> int:
    """Find open-loop optima by exact gradients; exit status 1 where one has not converged."""
    from hypemarl.training import optima

    config = load_config(arguments)
    needs_pde(config, "optimum")
    size = arguments.held_out or config.training.held_out_size
    rows = optima.find_optima(
        config,
        lambda env: optima.chosen_parameters(env, arguments.mu, arguments.index, size),
        tolerance=arguments.tolerance,
        max_evaluations=arguments.max_evaluations,
        start=None if arguments.start is None else Path(arguments.start),
        several=arguments.several,
        export=None if arguments.export is None else Path(arguments.export),
        run_dir=None if arguments.run is None else Path(arguments.run),
        progress=not arguments.quiet,
    )
    shown = [row | {"converged": "yes" if row["converged"] else "NO"} for row in rows]
    say(table_text(shown, {name: name.replace("_", " ") for name in rows[0]}))
    means = {
        f"{name}_mean": sum(row[name] for row in rows) / len(rows)
        for name in ("uncontrolled", "optimum", "evaluations", "seconds")
    }
    say(
        f"mean over {len(rows)}: J* = {means['optimum_mean']:.6g}, uncontrolled "
        f"{means['uncontrolled_mean']:.6g}"
    )
    converged = all(row["converged"] for row in rows)
    write_json(arguments.json, means | {"converged": converged, "optima": rows})
    return 0 if converged else 1


def do_experiment(arguments: Arguments) -> int:
    """Train the missing runs of an experiment or a table of docs/results, evaluate and tabulate.

    Exit status 3 where every episode of a run failed in training.
    """
    _refuse_mpirun("experiment runs its processes itself")
    _known("experiment", [arguments.name], (*studies.NAMES, *studies.TABLES))
    from hypemarl.studies import pipeline

    known = studies.studies_of(arguments.name)
    scenarios, in_vain = arguments.scenario or arguments.scenarios or list(known), list[str]()
    if arguments.name in studies.TABLES:
        _known("scenario", scenarios, known)
    for scenario in scenarios:
        study = known.get(scenario, next(iter(known.values())))
        plan = pipeline.Plan(
            scenario,
            seeds=named_seeds(arguments) or range(study.seeds),
            jobs=arguments.jobs,
            folder=Path(arguments.runs or study.run_folder),
            names=arguments.variants,
            overrides=arguments.set,
            finished_only=arguments.finished_only,
            episodes=arguments.episodes,
            progress=not arguments.quiet,
            in_vain=in_vain,
        )
        rows = pipeline.make(study, plan, Path(arguments.output))
        say(f"\n{scenario}\n{table_text(rows, study.shown(rows))}")
    say(f"written to {arguments.output}")
    return EXIT_VAIN if in_vain else 0


def do_map(arguments: Arguments) -> None:
    """Map the recovered share over two parameters, inside the training range and beyond."""
    from hypemarl.studies import generalisation
    from hypemarl.training.records import RunFolder

    _refuse_mpirun("map is serial")
    runs = expanded(arguments.runs)
    for folder in map(RunFolder, runs):
        needs_pde(folder.read_config(), "map")
    shares = generalisation.share_map(
        runs, Path(arguments.output), arguments.parameters, size=arguments.size
    )
    for run in map(str, runs):
        say(
            f"{run}: recovered {shares['inside'][run]:.3f} inside the training range, "
            f"{shares['outside'][run]:.3f} outside"
        )
    say(f"written {arguments.output}")


def do_evaluate(arguments: Arguments) -> int:
    """Evaluate runs on the held-out set; exit status 3 where every episode of a run fails."""
    return _evaluate(_comparable_runs(arguments), arguments)


def _comparable_runs(arguments: Arguments) -> list[Path]:
    """The runs of one problem that a command names. Raises as :func:`checked_runs`, and where
    their problems differ.
    """
    from hypemarl.training import summary

    runs = checked_runs(arguments)
    summary.check_comparable(runs)
    return runs


def _evaluate(runs: Sequence[Path], arguments: Arguments) -> int:
    from hypemarl.training import summary
    from hypemarl.training.table import columns, flat, summarise, worth

    changes = getattr(arguments, "set", [])
    rows = summary.evaluate_runs(
        runs, episodes=arguments.episodes, last=arguments.last, changes=changes
    )
    table = summarise(rows)
    settings = f", with {', '.join(changes)}" if changes else ""
    say(f"{rows[0]['scenario']}{settings}, {rows[0]['held_out']} held-out parameters")
    say(table_text(table, columns(table)))
    say_worth(worth(rows))
    write_json(arguments.json, flat(rows))
    for row in rows:
        if row["failures"]:
            say(
                f"{row['run']}: {row['failures']} of {row['held_out']} episodes failed, the last "
                f"one at {row['failure']}",
                error=True,
            )
    return EXIT_VAIN if any(row["failures"] == row["held_out"] for row in rows) else 0


def do_diagnose(arguments: Arguments) -> None:
    """Print the diagnostics of how agents of runs share."""
    from hypemarl.training.diagnosis import diagnose_run

    runs = checked_runs(arguments)
    rows = [diagnose_run(run, episodes=arguments.episodes) for run in runs]
    for row in rows:
        _say_values(row)
        say("")
    write_json(arguments.json, rows[0] if len(rows) == 1 else {row["run"]: row for row in rows})


def do_compare(arguments: Arguments) -> int:
    """Print the table of evaluated runs and draw their curves; exit status as of evaluate."""
    from hypemarl import mpi
    from hypemarl.visualisation.run_pictures import draw_curves

    runs = _comparable_runs(arguments)
    # ahead of the evaluation, which costs more: curves may be refused
    drawn = mpi.on_root(mpi.world(), lambda: draw_curves(runs, arguments.output))
    status = _evaluate(runs, arguments)
    say(f"written {drawn}" if drawn else "no curve to draw: every validation failed")
    return status


def do_render(arguments: Arguments) -> None:
    """Draw film, stills and policy map of a run."""
    from hypemarl.visualisation.run_pictures import draw_run

    for path in draw_run(arguments.run, index=arguments.index, film=not arguments.no_film):
        say(f"written {path}")


def do_validate(arguments: Arguments) -> int:
    """Compare measured with expected numbers; exit status 1 where one is off."""
    from hypemarl.verification import CASES

    names = list(CASES) if arguments.case == "all" else [arguments.case]
    _known("case", names, CASES)
    reports = {name: CASES[name]() for name in names}
    flat: Row = {}
    keys = ("quantity", "measured", "expected", "ok")
    for name, report in reports.items():
        rows = [dict(zip(keys, row, strict=True)) for row in report.rows]
        shown = [row | {"ok": "ok" if row["ok"] else "FAILED"} for row in rows]
        say(f"{name}\n{table_text(shown, {key: key for key in keys})}\n")
        flat |= {f"{name}: {row['quantity']}": row["measured"] for row in rows}
        flat[f"{name}_passed"] = bool(report.passed)
    passed = all(report.passed for report in reports.values())
    write_json(arguments.json, flat | {"passed": passed})
    return 0 if passed else 1


def do_bench(arguments: Arguments) -> None:
    """Time a hot path beside its peers."""
    from hypemarl.bench import BENCHES

    _known("benchmark", [arguments.name], BENCHES)
    result = BENCHES[arguments.name]()
    _say_values(result)
    write_json(arguments.json, result)


def do_demo(arguments: Arguments) -> int:
    """Train, compare and draw HypeMARL and MARL on density-1d, or on another problem.

    Exit status 3 where every episode of a run failed in training.
    """
    from hypemarl.cli import demo
    from hypemarl.training.jobs import complete_jobs, continue_flags
    from hypemarl.training.optima import fit_yardsticks
    from hypemarl.training.table import columns

    _refuse_mpirun("demo runs its processes itself")
    folder = Path(arguments.run)
    seeds, scenario = named_seeds(arguments) or [], arguments.scenario
    jobs = demo.demo_jobs(folder, seeds, overrides(arguments), scenario)
    needs_pde(jobs[0].config, "demo")
    runs = [job.run_dir for job in jobs]
    say(f"training {', '.join(run.name for run in runs)} into {folder}, {arguments.jobs} at a time")
    fresh, progress = arguments.fresh, not arguments.quiet
    finished = [
        job.run_dir for job in jobs if not fresh and continue_flags(job.config, job.run_dir) is None
    ]
    in_vain = complete_jobs(jobs, arguments.jobs, progress=progress, fresh=fresh)
    for run in finished:
        say(f"{run} is finished already, kept")
    if arguments.yardsticks:
        fit = jobs[0].config, seeds, arguments.yardsticks, arguments.jobs
        fit_yardsticks(*fit, progress=progress)
    rows = demo.compare(folder, runs)
    say(f"\n{jobs[0].config.scenario}, {jobs[0].config.training.held_out_size} held-out parameters")
    say(table_text(rows, columns(rows)))
    for path in demo.draw(folder, runs):
        say(f"written {path}")
    return EXIT_VAIN if in_vain else 0


def _refuse_mpirun(reason: str) -> None:
    if world_size() > 1:
        raise ConfigError(f"{reason}: start it without mpirun")


def _say_values(row: Row) -> None:
    for name, value in row.items():
        say(f"{name:>24}  {f'{value:.4g}' if isinstance(value, float) else value}")


def _known(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"no {kind} {name!r}; there are {', '.join(known)}, and all")
