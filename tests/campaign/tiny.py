"""The runs that trials break: small enough for a second, whole enough for every file.

``prepare`` trains each of them once without harm; trials compare with what it leaves.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from . import trials
from .injected import boundaries

METHODS = ("td3", "apg", "mbpg", "dyna", "imitate", "irl")
EPISODES = 6

DENSITY: dict[str, Any] = {
    "scenario": "density-1d",
    "env": {
        "mesh": {"element_size": 0.05},
        "agents": [5],
        "horizon": 1.0,
        "control_steps": 4,
    },
    "agent": {
        "encoding_size": 4,
        "hyper_width": 4,
        "actor_hidden": [4],
        "critic_hidden": [4],
        "batch_episodes": 2,
        "replay_episodes": 8,
        "imitate_episodes": 2,
        "imitate_evaluations": 3,
        "imitate_updates": 2,
        "surrogate": {
            "hidden": [4],
            "batch": 2,
            "rollout": 2,
            "first_fits": 3,
            "fits": 2,
            "every": 2,
            "imagine": 2,
            "first_updates": 2,
            "updates": 2,
            "imagined_per_real": 2,
        },
    },
    "training": {
        "episodes": EPISODES,
        "random_episodes": 2,
        "updates_per_step": 0.5,
        "validation_every": 2,
        "validation_size": 2,
        "held_out_size": 2,
        "checkpoint_every": 1,
        "tensorboard": False,
    },
}

FLOW: dict[str, Any] = {
    "scenario": "flow-cylinder",
    "env": {
        "mesh": {"element_size": 0.1, "disc_element_size": 0.03},
        "flow": {"time_step": 0.0025, "develop_time": 0.1, "states": 1},
        "agents": [4],
        "horizon": 0.05,
        "control_steps": 2,
    },
    "agent": {"hyper_width": 4, "encoding_size": 4, "batch_steps": 0},
}


@dataclass(frozen=True)
class Work:
    """The campaign's folder: configurations, references, and one folder for each trial."""

    path: Path

    @property
    def density(self) -> Path:
        """The configuration of all runs of the density problem."""
        return self.path / "tiny.yaml"

    @property
    def flow(self) -> Path:
        """The configuration of a flow with developed states."""
        return self.path / "flow.yaml"

    def reference(self, name: str) -> Path:
        """Folder in which an unharmed command ran."""
        return self.path / "reference" / name

    def run(self, name: str) -> Path:
        """The run folder of a reference."""
        return self.reference(name) / "run"

    def trial(self, name: str, like: str | None = None) -> Path:
        """An empty folder for a trial, or a copy of a reference's."""
        folder = self.path / "trials" / name
        if like is None:
            folder.mkdir(parents=True)
        else:
            shutil.copytree(self.reference(like), folder)
        return folder

    def boundaries(self, name: str) -> list[str]:
        """Every boundary that the reference passed, in order."""
        return (self.path / "reference" / f"{name}.boundaries").read_text().splitlines()

    def seconds(self, name: str) -> float:
        """How long the reference took."""
        return float(json.loads((self.path / "reference" / f"{name}.json").read_text())["seconds"])


def train_arguments(work: Work, method: str, *more: str) -> list[str]:
    """``hypemarl train`` of a tiny run into ``run``."""
    arguments = ["train", str(work.density), "--train", method, "--run", "run", "--quiet"]
    return [*arguments, *more]


def optimum_arguments(work: Work) -> list[str]:
    """``hypemarl optimum`` of two parameters, in few evaluations."""
    limits = ["--held-out", "2", "--tolerance", "0.3", "--max-evaluations", "30"]
    return ["optimum", str(work.density), *limits, "--quiet", "--json", "optimum.json"]


def developed_arguments(work: Work) -> list[str]:
    """``hypemarl simulate`` of a flow, which develops a state, stores it and reads it again."""
    return ["simulate", str(work.flow), "--policy", "constant", "--output", "out"]


EVALUATE = ["evaluate", "run", "--json", "result.json"]


def write_configurations(work: Work) -> None:
    """The YAML files of all trials."""
    work.path.mkdir(parents=True, exist_ok=True)
    work.density.write_text(yaml.safe_dump(DENSITY), encoding="utf-8")
    work.flow.write_text(yaml.safe_dump(FLOW), encoding="utf-8")


def warm(work: Work, methods: Sequence[str], cached: Sequence[str]) -> None:
    """Import, compile and load once what every fork then has."""
    from hypemarl.cli import main

    folder = work.path / "warm"
    folder.mkdir()
    before = Path.cwd()
    os.chdir(folder)
    os.environ["HYPEMARL_CACHE"] = str(folder / "cache")
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            for method in methods:
                run = ["--train", method, "--run", method, "--quiet"]
                status = main(["train", str(work.density), *run])
                if status:
                    break
            status = status or main(["evaluate", "td3"])
            if "developed" in cached:
                status = status or main(["simulate", str(work.flow)])
    finally:
        os.chdir(before)
    if status:
        raise SystemExit(f"a command failed unharmed:\n{output.getvalue()}")


def make_reference(work: Work, name: str) -> str:
    """Run a command unharmed and count its boundaries; returns its words where it fails."""
    folder = work.reference(name)
    if name == "evaluate":
        shutil.copytree(work.run("td3"), folder / "run")
        arguments = EVALUATE
    elif name == "optimum":
        arguments = optimum_arguments(work)
    elif name == "developed":
        arguments = developed_arguments(work)
    else:
        arguments = train_arguments(work, name)
    log = folder.parent / f"{name}.boundaries"
    folder.mkdir(parents=True, exist_ok=True)
    arm = partial(boundaries.arm, str(folder), 0, str(log))
    outcome = trials.command(arguments, folder, prepare=arm)
    (folder.parent / f"{name}.json").write_text(json.dumps({"seconds": outcome.seconds}))
    return "" if outcome.status == 0 else f"{name}: {outcome.text}"
