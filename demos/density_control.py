"""Density control in a square by 64 agents, step by step.

    python demos/density_control.py                  # about a minute: 65% of uncontrolled
    mpirun -n 2 python demos/density_control.py      # the ranks share the mesh
    python demos/density_control.py --episodes 400   # about 4 minutes: about a third

A density y(x, t) on Omega = (-1, 1)^2 obeys the Fokker-Planck equation

    dy/dt + div(-nu grad y + u y) = 0,   no flux through the boundary,

and the agents choose the velocity u. They form an 8 x 8 grid; agent i sets two amplitudes
a_i = (u_x, u_y) at its position, and u(x) = sum_i psi_i(x) a_i blends them smoothly. Their common
task is to move a bump from c0 to c_d at the least cost

    J = int_0^T 1/2 ||y - y_d||^2 + w/2 ||y||^2_boundary + beta/2 ||u||^2 + beta_g/2 ||grad u||^2
    dt.

Each agent sees the mean densities of its own patch and the eight around it, and knows mu = c_d. One
hypernetwork maps (position of the agent, mu) to the weights of its policy (HypeMARL,
arXiv:2509.16709); it is trained by TD3 with critics that are used in training only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from hypemarl import config, envs, mpi
from hypemarl.training import evaluation
from hypemarl.training.loop import train
from hypemarl.training.records import RunFolder
from hypemarl.training.summary import trained_policy


def main() -> None:
    """Inspect the environment, train, compare with no control, draw."""
    given = parse()
    comm = mpi.world()

    # 1. The system. A scenario is a set of defaults; any key can be changed (`hypemarl list
    # --keys`).
    settings = config.load(
        "density-vacuum", [f"training.episodes={given.episodes}", "training.random_episodes=10"]
    )
    env = envs.make(settings.env, comm)
    say(
        comm,
        f"{env.n_agents} agents, each sees {env.observation_size} numbers, sets {env.action_size}",
    )

    # 2. The parameters of an episode, and an episode without control.
    parameters = evaluation.parameter_set(env.parameter_low, env.parameter_high, 4, "held-out")
    nothing = evaluation.evaluate_policy(env, evaluation.uncontrolled(env), parameters)
    say(
        comm, f"uncontrolled: J = {nothing.cost:.3f} (mean over {len(parameters)} held-out targets)"
    )

    # 3. The agents' rewards are shares of the cost: they sum to -J to rounding, at every step.
    env.reset_arrays(parameters[0])
    step = env.step_arrays(np.full((env.n_agents, env.action_size), 0.1))
    assert abs(step.rewards.sum() + step.info["cost"]) < 1e-12 * step.info["cost"]

    # 4. Training. All ranks step the solver; rank 0 acts and learns. Ctrl-C saves and stops.
    train(settings, given.run, overwrite=True, comm=comm)

    # 5. The averaged actor of the best validation, on targets that training never saw.
    policy, _ = trained_policy(RunFolder(given.run), env, settings, comm)
    controlled = evaluation.evaluate_policy(env, policy, parameters)
    share = controlled.cost / nothing.cost
    say(comm, f"controlled:   J = {controlled.cost:.3f}, {share:.0%} of uncontrolled")

    # 6. Mass is conserved, whatever the agents do.
    plant = env.plant
    plant.reset(parameters[0])
    before = plant.solver.mass()
    for _ in range(5):
        plant.step(np.random.default_rng(0).uniform(-1, 1, (env.n_agents, env.action_size)))
    after = plant.solver.mass()
    assert abs(after - before) < 1e-12

    # 7. A film: density in colour, the target as contours, the agents' actions as arrows.
    path = given.run / "trajectory.npz"
    evaluation.record_trajectory(env, policy, parameters[0], path, "hypemarl")
    if comm.rank == 0 and not given.no_film:
        from hypemarl.training.records import read_trajectory
        from hypemarl.visualisation.fields import render

        for picture in render(read_trajectory(given.run), given.run):
            print(f"wrote {picture}")


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description="Density control in a square by 64 agents.")
    parser.add_argument("--episodes", type=int, default=60, help="episodes of training")
    parser.add_argument("--run", type=Path, default=Path("runs/density_control"), help="run folder")
    parser.add_argument("--no-film", action="store_true", help="skip the pictures")
    return parser.parse_args()


def say(comm: mpi.MPI.Intracomm, text: str) -> None:
    """Print from rank 0."""
    if comm.rank == 0:
        print(text, flush=True)


if __name__ == "__main__":
    main()
