"""Effect of codes on policies: their distances over the distance between agents in space.

HypeMARL with every encoder, and MARL, whose agents have no code. Policies collapse where agents do
the same on the same observations although they stand at different places; the warning
``agents-alike`` of a training has the same bound.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hypemarl.agents import diagnostics
from hypemarl.studies import pipeline
from hypemarl.studies.pipeline import Entry, Group, Study
from hypemarl.training.diagnosis import probe_run
from hypemarl.training.evaluation import Array
from hypemarl.training.watch import ALIKE
from hypemarl.types import Row
from hypemarl.visualisation.charts import draw_distances

EPISODES = 4  # of the held-out set, whose observations all agents are shown
BINS = 10  # of the distance between places, where agents have many

TRAINED = ("training.algorithm=apg", "training.episodes=200")
ENTRIES = (
    *(
        Entry(encoder, (*TRAINED, "agent.scheme=hypemarl", f"agent.encoder={encoder}"))
        for encoder in ("sinusoidal", "learned", "one-hot")
    ),
    Entry("none", (*TRAINED, "agent.scheme=marl")),
)

COLUMNS = {
    "name": "encoder",
    **pipeline.COSTS,
    "diversity": "policy distance",
    "observation_spread": "observation spread",
    "distance_over_spread": "ratio",
    "nearest": "nearest agents",
    "farthest": "farthest agents",
    "collapsed": "collapsed",
}


def measure(group: Group) -> Row:
    """Distances between unit actions on the same observations, means over seeds.

    ``diversity`` is that of all pairs of agents, beside the ``nearest`` and the ``farthest`` pairs;
    ``observation_spread`` the distance between the actions of one agent on different observations.
    ``collapsed`` is the number of seeds whose agents act alike; ``by_distance`` holds places'
    distances and policies' (mean, min, max over seeds).
    """
    by_seed = [distances_of(run) for run in group.runs]
    curves = np.array([row["by_distance"] for row in by_seed])  # (seeds, bins, 2)
    policies = curves[:, :, 1]
    bands = (curves[0, :, 0], policies.mean(axis=0), policies.min(axis=0), policies.max(axis=0))
    keys = ("diversity", "observation_spread", "distance_over_spread")
    return {
        **{key: pipeline.mean_of(by_seed, key) for key in keys},
        "nearest": float(bands[1][0]),
        "farthest": float(bands[1][-1]),
        "collapsed": sum(row["collapsed"] for row in by_seed),
        "by_distance": np.stack(bands, axis=1),
        "by_seed": by_seed,
    }


def distances_of(run: Path) -> Row:
    """Distances between the policies of one run, and whether they have collapsed."""
    probed = probe_run(run, episodes=EPISODES)
    if probed.probe is None or probed.agent is None:
        raise RuntimeError(f"{run}: every episode failed, so that there are no observations")
    actor = probed.agent.actor
    row: Row = diagnostics.behavioural_diversity(actor, probed.probe)
    spread = row["observation_spread"]
    distances = diagnostics.policy_distances(actor, probed.probe).cpu().numpy()
    return row | {
        "distance_over_spread": row["diversity"] / spread if spread > 0.0 else np.inf,
        "collapsed": row["diversity_relative"] < ALIKE,
        "by_distance": by_distance(probed.positions, distances),
        "actor_parameters": sum(parameter.numel() for parameter in actor.parameters()),
    }


def by_distance(positions: Array, distances: Array, bins: int = BINS) -> Array:
    """(B, 2) mean distance of places and of policies, over pairs of agents at a like distance.

    Args:
        positions: (n, gdim) of the agents.
        distances: (n, n) between their policies.
        bins: at most so many groups of pairs, of equal numbers of different distances.
    """
    first, second = np.triu_indices(len(positions), 1)
    apart = np.linalg.norm(positions[first] - positions[second], axis=1)
    different = np.unique(apart.round(6))
    groups = np.array_split(different, min(bins, len(different)))
    edges = np.array([group[0] for group in groups])
    group = np.searchsorted(edges, apart.round(6), side="right") - 1
    policy = np.asarray(distances)[first, second]
    return np.array([[v[group == k].mean() for v in (apart, policy)] for k in range(len(groups))])


STUDY = Study(
    "encoding",
    "density-1d",
    lambda _: ENTRIES,
    COLUMNS,
    measure,
    draw=lambda rows, _, path: draw_distances(rows, path),
)
