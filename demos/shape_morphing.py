"""A cylinder that 12 agents turn into a body of less drag, whatever way the stream comes.

    python demos/shape_morphing.py                       # optimum, training, comparison, film
    mpirun -n 2 python demos/shape_morphing.py           # the ranks share one mesh
    python demos/shape_morphing.py --policy runs/mine    # no training: an existing run

The first takes about two minutes on an idle core; `--episodes` sets the training budget (40).

Around the obstacle the fluid obeys the steady Navier-Stokes equations

    (v . grad) v = -grad p + nu laplace v,   div v = 0,

v = U (cos a, sin a) at the inflow and the side walls, zero on the obstacle, free outflow;
Re = U D / nu and the angle a differ from episode to episode. Each agent moves its part of the
boundary in and out; in a step, amplitudes cover half the distance to their targets. Whatever the
targets, the shape keeps the cylinder's area, stays smooth and thick enough, and the mesh follows
without inverting a cell (docs/morphing.md). An agent sees the traction on its part and on its
neighbours', and how far these have moved. The common task of the agents is to minimise

    J = sum over steps of C_D + beta/2 <a^2> + beta_g/2 <(a_i - a_(i+1))^2>.

Gradients are exact, through flow, mesh and bounds. The search for the best shape takes one or two
dozen of them, and they also train the policies (adjoint policy gradient). One hypernetwork maps
(position of the agent, mu) to the weights of its policy (HypeMARL, arXiv:2509.16709).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from hypemarl import config, envs, mpi
from hypemarl.config import options_of
from hypemarl.optimal.open_loop import OpenLoop, recovered_share, replay
from hypemarl.systems.shape.options import ShapeOptions
from hypemarl.training import evaluation
from hypemarl.training.loop import train
from hypemarl.training.records import RunFolder, write_trajectory
from hypemarl.training.summary import trained_policy


def main() -> None:
    """Inspect the shapes, find the best one, train, compare, draw."""
    given = parse()
    comm = mpi.world()
    mpi.install_excepthook()

    # 1. The system: a scenario's settings, any of which can be changed (`hypemarl list --keys`).
    settings = choose(given)
    env = envs.make(settings.env, comm)
    say(
        comm,
        f"{env.n_agents} agents, each sees {env.observation_size} numbers; {env.control_steps} "
        f"control steps; parametrisation {options_of(settings.env, ShapeOptions).displacement}",
    )

    # 2. Whatever the target amplitudes, the shape is feasible and has the same area.
    feasible = env.plant.moving.feasible
    env.reset_arrays(env.parameter_high)
    wanted = np.random.default_rng(0).choice([-1.0, 1.0], (env.n_agents, env.action_size))
    step = env.step_arrays(wanted)
    q = env.plant.shape.q
    assert abs(feasible.space.area(q) / feasible.area - 1.0) < 1e-12
    assert min(feasible.limits.margins(q).values()) >= 0.0
    # The rewards are shares of the cost: they sum to -J to rounding.
    assert abs(step.info["local_costs"].sum() - step.info["cost"]) < 1e-12 * step.info["cost"]

    # 3. The undeformed cylinder, and the best shape, by exact gradients. The optimum is cached.
    parameters = env.parameter_low + 0.75 * (env.parameter_high - env.parameter_low)
    nothing = evaluation.uncontrolled(env)
    bare = evaluation.record_trajectory(env, nothing, parameters, None, "uncontrolled")
    best = OpenLoop(env).solve(parameters, tolerance=1e-2, max_evaluations=given.evaluations)
    say(comm, f"optimum after {best.evaluations} gradients: J* = {best.cost:.3f}")
    shaped = evaluation.record_trajectory(env, replay(best.actions), parameters, None, "optimum")

    # 4. Training over all Re and angles. Ctrl-C saves and stops.
    if given.policy is None:
        train(settings, given.run, overwrite=True, comm=comm)

    # 5. The averaged actor of the best validation, at the same parameters.
    policy, _ = trained_policy(RunFolder(given.policy or given.run), env, settings, comm)
    name = settings.agent.scheme
    controlled = evaluation.record_trajectory(env, policy, parameters, None, name)
    say(comm, f"\n{'':14}{'cost J':>10}{'mean C_D':>12}{'last C_D':>12}")
    for title, episode in (("uncontrolled", bare), ("optimum", shaped), (name, controlled)):
        say(comm, row(title, episode))
    share = recovered_share(controlled["costs"].sum(), bare["costs"].sum(), best.cost)
    say(comm, f"recovered share (J0 - J) / (J0 - J*): {share:.1%}")

    # 6. Stills and a film: the speed, the moving mesh, and the reference shape dotted.
    if comm.rank == 0:
        from hypemarl.visualisation.fields import render

        given.run.mkdir(parents=True, exist_ok=True)
        write_trajectory(RunFolder(given.run).trajectory, controlled)
        write_trajectory(RunFolder(given.run).uncontrolled, bare)
        pictures = render(controlled, given.run, film=not given.no_film, reference=bare)
        print("\n".join(f"wrote {picture}" for picture in pictures))


def choose(given: argparse.Namespace) -> config.Config:
    """Settings of the run whose policy is shown, or of the scenario."""
    if given.policy is not None:
        return RunFolder(given.policy).read_config()
    budget = ["training.algorithm=apg", f"training.episodes={given.episodes}"]
    budget.append(f"training.validation_every={max(1, given.episodes // 4)}")
    return config.load("shape-morphing", budget + given.set)


def row(name: str, episode: dict[str, Any]) -> str:
    """A line of the table."""
    drag = episode["drag"]
    return f"{name:14}{episode['costs'].sum():10.3f}{drag.mean():12.4f}{drag[-1]:12.4f}"


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description="An obstacle whose boundary agents move.")
    parser.add_argument("--episodes", type=int, default=40, help="episodes of training")
    parser.add_argument(
        "--evaluations", type=int, default=25, help="most gradients in the search for the optimum"
    )
    parser.add_argument("--policy", type=Path, metavar="RUN", help="show this run, do not train")
    parser.add_argument("--run", type=Path, default=Path("runs/shape_morphing"), help="run folder")
    parser.add_argument("--no-film", action="store_true", help="stills only")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting"
    )
    return parser.parse_args()


def say(comm: mpi.MPI.Intracomm, text: str) -> None:
    """Print from rank 0."""
    if comm.rank == 0:
        print(text, flush=True)


if __name__ == "__main__":
    main()
