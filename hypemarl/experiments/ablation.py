"""What makes TD3 learn: changes of a scenario's settings, one at a time, over several seeds.

Every variant is trained with the scenario's own settings but for what it overrides, and evaluated
on the held-out set. Finished runs are kept and unfinished ones resumed, so that the command may be
interrupted and repeated.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hypemarl.config import ConfigError
from hypemarl.experiments.results import Entry, jobs_of, train_missing, write_text
from hypemarl.training import summary
from hypemarl.training.jobs import Job
from hypemarl.training.records import read_metrics, write_json
from hypemarl.visualisation.table import format_table

Row = dict[str, Any]

#: of every run, fewer than most scenarios have: what helps shows early
EPISODES = 200

#: where the scenario has credit adjoint, whose weight it is
NO_CLONING = "agent.cloning=0"

#: decentralised training on near agents' rewards
PLAIN = ("agent.credit=local", NO_CLONING, "env.reward=neighbourhood")
#: formulations of the problem in which it is looked for
PLAIN_FORMS: dict[str, tuple[str, ...]] = {
    "near": (),
    "near-trace": ("agent.time_left=true", "agent.trace=0.8"),
    "near-target": ("env.observe_target=true",),
    "near-wide": ("env.reward_radius=4",),
    "near-steps": ("env.control_steps=4", "agent.gamma=0.8"),
    "near-brake": ("env.beta=0.1", "env.beta_g=0.05"),
}

VARIANTS = (
    Entry("scenario", ()),
    # whose costs an actor's gradient knows
    Entry("credit-adjoint", ("agent.credit=adjoint", "agent.cloning=10")),
    Entry("credit-local", ("agent.credit=local", NO_CLONING)),
    Entry("credit-local-reward-global", ("agent.credit=local", NO_CLONING, "env.reward=global")),
    Entry("credit-neighbourhood", ("agent.credit=neighbourhood", NO_CLONING)),
    # the papers' plain form, decentralised in training too, beside MARL with the same
    *(
        Entry(f"plain-{name}{suffix}", (*PLAIN, *changes, *scheme))
        for name, changes in PLAIN_FORMS.items()
        for suffix, scheme in (("", ()), ("-marl", ("agent.scheme=marl",)))
    ),
    Entry("credit-central", ("agent.credit=central", NO_CLONING)),
    Entry("radius-1", ("agent.credit_radius=1",)),
    Entry("reward-global", ("env.reward=global",)),
    # what critics see and what they learn
    Entry("time-left", ("agent.time_left=true",)),
    Entry("trace-0.8", ("agent.trace=0.8",)),
    Entry("time-left-trace-0.8", ("agent.time_left=true", "agent.trace=0.8")),
    Entry("gamma-0.8", ("agent.gamma=0.8",)),
    Entry("gamma-0.97", ("agent.gamma=0.97",)),
    Entry("squared-loss", ("agent.huber=false",)),
    Entry("no-reward-clip", ("agent.reward_clip=0",)),
    Entry("reward-scale-1", ("agent.reward_scale=1", "agent.reward_clip=0")),
    Entry("cloning-0.1", ("agent.cloning=0.1",)),
    # how much and how fast
    Entry("updates-2", ("training.updates_per_step=2",)),
    Entry("updates-0.5", ("training.updates_per_step=0.5",)),
    Entry("batch-6", ("agent.batch_episodes=6",)),
    Entry("no-gradient-clip", ("agent.gradient_clip=0",)),
    Entry("papers-rates", ("agent.actor_rate=1e-6", "agent.critic_rate=5e-5")),
    # initial values, exploration, which policy is kept
    Entry("output-gain-1", ("agent.output_gain=1",)),
    Entry("noise-0.3", ("agent.exploration_noise=0.3",)),
    Entry("noise-smooth", ("agent.noise_smoothing=0.7",)),
    Entry("no-average", ("agent.average_rate=1",)),
    Entry("average-0.001", ("agent.average_rate=0.001",)),
    # the task
    Entry("observe-target", ("env.observe_target=true",)),
    Entry("interval-half", ("env.control_steps=16",)),
    Entry("horizon-half", ("env.horizon=1", "env.control_steps=4")),
    # the papers' networks, slow: eleven times the arithmetic
    Entry(
        "papers-networks",
        (
            "agent.encoding_size=2048",
            "agent.hyper_width=256",
            "agent.actor_rate=1e-6",
            "agent.critic_rate=5e-5",
        ),
    ),
)

COLUMNS = {
    "name": "variant",
    "overrides": "overrides",
    "seeds": "seeds",
    "cost_mean": "cost J mean",
    "cost_median": "median",
    "cost_min": "min",
    "cost_max": "max",
    "ratio_to_uncontrolled": "J / J0",
    "recovered": "recovered",
    "last_cost": "last validation",
    "seconds": "seconds",
}


def run(
    scenario: str,
    *,
    seeds: Sequence[int],
    jobs: int,
    folder: Path,
    names: Sequence[str] | None = None,
    episodes: int = EPISODES,
    progress: bool = True,
) -> list[Row]:
    """Train what is missing in ``folder/<scenario>/<variant>/seed<N>``, evaluate, tabulate.

    ``jobs`` runs go at a time, of ``episodes`` each; ``names`` chooses variants. Returns rows with
    the keys of :data:`COLUMNS`: costs are means over the held-out set, their spread is over seeds;
    ``last_cost`` is the validation cost of the last policy, where the others are of the best;
    ``recovered`` is there where ``hypemarl optimum`` has found optima. Not under mpirun.

    Raises:
        ConfigError: a name is unknown. TrainingError: a run failed.
    """
    variants = chosen(names)
    planned = planned_jobs(scenario, variants, seeds, folder, episodes)
    train_missing(planned, jobs, progress=progress)
    rows = summary.evaluate_runs([job.run_dir for job in planned])
    count = len(seeds)
    return [_row(variant, rows[k * count : (k + 1) * count]) for k, variant in enumerate(variants)]


def planned_jobs(
    scenario: str, variants: Sequence[Entry], seeds: Sequence[int], folder: Path, episodes: int
) -> list[Job]:
    """A job for every variant and seed, those of a variant together."""
    length = f"training.episodes={episodes}"
    entries = [Entry(v.name, (length, *v.overrides)) for v in variants]
    return jobs_of(scenario, entries, seeds, folder)


def chosen(names: Sequence[str] | None) -> list[Entry]:
    """The variants of these names, in their order, or all. Raises ConfigError."""
    known = {variant.name: variant for variant in VARIANTS}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ConfigError(f"unknown variants {unknown}: take names out of {list(known)}")
    return [known[name] for name in (known if names is None else names)]


def _row(variant: Entry, runs: Sequence[Row]) -> Row:
    costs = np.array([row["cost"] for row in runs])
    last = [_validations(row)[-1] for row in runs]
    shares = [row["recovered"] for row in runs if "recovered" in row]
    return {
        "name": variant.name,
        "overrides": " ".join(variant.overrides),
        "seeds": len(runs),
        "cost_mean": float(costs.mean()),
        "cost_median": float(np.median(costs)),
        "cost_min": float(costs.min()),
        "cost_max": float(costs.max()),
        "ratio_to_uncontrolled": float(np.mean([row["ratio_to_uncontrolled"] for row in runs])),
        **({"recovered": float(np.mean(shares))} if shares else {}),
        "last_cost": float(np.mean([line["cost"] or np.inf for line in last])),
        "seconds": float(np.mean([line["seconds"] for line in last])),
    }


def _validations(row: Row) -> list[dict[str, Any]]:
    return [line for line in read_metrics(row["run"]) if line["kind"] == "validation"]


def columns(rows: Sequence[Row]) -> dict[str, str]:
    """Keys and headings of the table; those that no row has are left out."""
    return {key: text for key, text in COLUMNS.items() if any(key in row for row in rows)}


def write(scenario: str, rows: Sequence[Row], output: Path) -> None:
    """``ablation-<scenario>.md``, the table, and the scenario's entry in ``ablation.json``.

    Rows of variants that are not among ``rows`` stay in both.
    """
    file = output / "ablation.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    kept = {row["name"]: row for row in found.get(scenario, [])}
    kept |= {row["name"]: dict(row) for row in rows}
    order = [variant.name for variant in VARIANTS]
    known = sorted(kept.values(), key=lambda row: order.index(row["name"]))
    write_json(file, found | {scenario: known})
    text = format_table(known, columns(known), markdown=True) + "\n"
    write_text(output / f"ablation-{scenario}.md", text)
