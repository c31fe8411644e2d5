"""How small a hypernetwork may be: its depth, its width, and the encoding of the position.

One size at a time, the others as in the scenario. The smallest that specialises is the smallest
whose mean cost is within 5% of the largest one's and whose agents do not act alike in any seed.
MARL stands beside them, whose agents cannot specialise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hypemarl import config as configuration
from hypemarl.studies import pattern
from hypemarl.studies.encoding import TRAINED, measure
from hypemarl.studies.pattern import Plan, Row
from hypemarl.studies.results import Entry
from hypemarl.visualisation.sizes import draw_sizes

SCENARIO = "density-1d"
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
    **pattern.COSTS,
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
    found = [
        Entry(REFERENCE, (*TRAINED, "agent.scheme=marl")),
        Entry(USUAL, (*TRAINED, "agent.scheme=hypemarl")),
    ]
    for kind, names in axes_of(scenario).items():
        for value, name in names.items():
            change = f"agent.{SIZES[kind][0]}={value}"
            if kind == "depth" and not value:
                change = "agent.hypernetwork=linear"
            if name != USUAL:
                found.append(Entry(name, (*TRAINED, "agent.scheme=hypemarl", change)))
    return found


def run(plan: Plan) -> list[Row]:
    """Train what is missing, evaluate; rows with the keys of :data:`COLUMNS`.

    ``collapsed`` is the number of seeds whose agents act alike (see ``experiment encoding``).

    Raises:
        ConfigError: a name is unknown. TrainingError: a run failed.
    """
    return pattern.measured(_row, entries(plan.scenario), plan)


def _row(entry: Entry, runs: Sequence[Path], results: Sequence[Row]) -> Row:
    found = [measure(run) for run in runs]
    return {
        "name": entry.name,
        **pattern.costs(results),
        "diversity": float(np.mean([row["diversity"] for row in found])),
        "collapsed": sum(row["collapsed"] for row in found),
        "actor_parameters": found[0]["actor_parameters"],
        "seconds": pattern.seconds(runs),
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


def columns(rows: Sequence[Row]) -> dict[str, str]:
    """Keys and headings of the table; those that no row has are left out."""
    return pattern.present(COLUMNS, rows)


def write(scenario: str, rows: Sequence[Row], output: Path) -> None:
    """``sensitivity-<scenario>.md``, the picture, and the entry in ``sensitivity.json``.

    The entry has ``smallest_<kind>`` beside the rows. Rows of earlier calls that are not among
    ``rows`` stay.
    """
    known = pattern.known("sensitivity", scenario, rows, entries(scenario), output)
    axes = axes_of(scenario)
    least = {f"smallest_{kind}": smallest(known, names) for kind, names in axes.items()}
    pattern.write("sensitivity", scenario, known, COLUMNS, output, **least)
    draw_sizes(known, axes, REFERENCE, output.parent / "images" / f"sensitivity-{scenario}.png")
