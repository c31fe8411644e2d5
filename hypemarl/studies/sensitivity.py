"""Smallest hypernetwork that specialises: its depth, its width, and the encoding of the position.

One size at a time, the others as in the scenario. The smallest that specialises is the smallest
whose mean cost is within 5% of the largest one's and whose agents do not act alike in any seed.
MARL stands beside them, whose agents cannot specialise.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypemarl import config as configuration
from hypemarl.studies import pipeline
from hypemarl.studies.encoding import TRAINED, distances_of
from hypemarl.studies.pipeline import Entry, Group, Study
from hypemarl.types import Row
from hypemarl.visualisation.charts import draw_sizes

MARGIN = 0.05
"""A smaller network does as well where its mean cost is within this share of the largest one's."""
SIZES: dict[str, tuple[str, tuple[int, ...]]] = {
    "depth": ("hyper_depth", (0, 1, 2, 3)),
    "width": ("hyper_width", (2, 4, 16, 64, 256)),
    "encoding": ("encoding_size", (2, 4, 8, 16, 64)),
}
"""Name -> key of ``agent`` and its values; depth 0 is the linear hypernetwork."""
USUAL = "scenario"
REFERENCE = "marl"
COLUMNS = {
    "name": "size",
    **pipeline.COSTS,
    "diversity": "diversity",
    "collapsed": "collapsed",
    "actor_parameters": "parameters",
    "seconds": "seconds",
}


def axes_of(scenario: str) -> dict[str, dict[int, str]]:
    """Sizes of every kind -> the entry's name; the scenario's own size stands in all of them."""
    config = configuration.load(scenario)
    least = {"encoding": 2 * len(config.env.agents)}  # a sine and a cosine per coordinate
    return {
        kind: {
            value: USUAL if value == getattr(config.agent, key) else f"{kind}-{value}"
            for value in values
            if value >= least.get(kind, 0)
        }
        for kind, (key, values) in SIZES.items()
    }


def entries(scenario: str) -> list[Entry]:
    """MARL, the scenario's own sizes, and one other size at a time."""
    result = [
        Entry(REFERENCE, (*TRAINED, "agent.scheme=marl")),
        Entry(USUAL, (*TRAINED, "agent.scheme=hypemarl")),
    ]
    for kind, names in axes_of(scenario).items():
        for value, name in names.items():
            change = f"agent.{SIZES[kind][0]}={value}"
            if kind == "depth" and not value:
                change = "agent.hypernetwork=linear"
            if name != USUAL:
                result.append(Entry(name, (*TRAINED, "agent.scheme=hypemarl", change)))
    return result


def measure(group: Group) -> Row:
    """``collapsed`` is the number of seeds whose agents act alike (see ``experiment encoding``)."""
    by_seed = [distances_of(run) for run in group.runs]
    return {
        "diversity": pipeline.mean_of(by_seed, "diversity"),
        "collapsed": sum(row["collapsed"] for row in by_seed),
        "actor_parameters": by_seed[0]["actor_parameters"],
        "seconds": pipeline.seconds(group.runs),
    }


def smallest(rows: Sequence[Row], names: dict[int, str]) -> int | None:
    """The smallest of these sizes that specialises, None where a size is missing."""
    known = {row["name"]: row for row in rows}
    if not all(name in known for name in names.values()):
        return None
    bound = (1.0 + MARGIN) * known[names[max(names)]]["cost_mean"]
    return min(
        (
            value
            for value, name in names.items()
            if known[name]["cost_mean"] <= bound and not known[name]["collapsed"]
        ),
        default=None,
    )


def figures(rows: Sequence[Row], scenario: str) -> Row:
    """``smallest_<kind>`` of every kind of size."""
    axes = axes_of(scenario)
    return {f"smallest_{kind}": smallest(rows, names) for kind, names in axes.items()}


STUDY = Study(
    "sensitivity",
    "density-1d",
    entries,
    COLUMNS,
    measure,
    figures,
    lambda rows, scenario, path: draw_sizes(rows, axes_of(scenario), REFERENCE, path),
)
