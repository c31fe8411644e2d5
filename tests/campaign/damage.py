"""Flip bits, cut, blank and lengthen every file that is read back."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from . import content, kills, tiny, trials
from .plan import Scale, Task
from .report import Result
from .tiny import Work

BATCH = 50
LONGER = ["--episodes", str(tiny.EPISODES + 2), "--resume"]
MESHED: dict[str, Any] = {
    **tiny.DENSITY,
    "scenario": "density-vacuum",
    "env": {"mesh": {"file": "m.msh"}, "agents": [2, 2], "horizon": 0.4, "control_steps": 4},
}
LOADED: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "run/checkpoints/last.pt": ("td3", content.checkpoint),
    "run/checkpoints/best.pt": ("td3", content.checkpoint),
    "out/trajectory.npz": ("developed", content.trajectory),
}
"""Files that the product's loaders read, by the hundred in one process: reference, loader."""

READ: dict[str, tuple[str, str]] = {
    "run/checkpoints/last.pt": ("td3", "resume"),
    "run/checkpoints/best.pt": ("td3", "evaluate"),
    "run/config.yaml": ("td3", "evaluate"),
    "run/metrics.jsonl": ("td3", "resume"),
    "cache/optima": ("optimum", "optimum"),
    "cache": ("developed", "simulate"),
    "m.msh": ("meshed", "evaluate"),
}
"""Files that commands read: reference, command. A folder stands for its first file."""


def prepare(work: Work) -> str:
    """A run that goes on unharmed, and one on a mesh file."""
    folder = work.reference("longer")
    shutil.copytree(work.reference("td3"), folder)
    words = _do(tiny.train_arguments(work, "td3", *LONGER), folder)
    folder = work.reference("meshed")
    folder.mkdir()
    (folder / "meshed.yaml").write_text(yaml.safe_dump(MESHED), encoding="utf-8")
    sizes = ["--set", "env.agents=[2, 2]", "--element-size", "0.4"]
    words += _do(["mesh", "density-vacuum", *sizes, "--output", "m.msh"], folder)
    words += _do(["train", "meshed.yaml", "--run", "run", "--quiet"], folder)
    return words + _do(tiny.EVALUATE, folder)


def _do(arguments: list[str], folder: Path) -> str:
    outcome = trials.command(arguments, folder)
    return "" if outcome.status == 0 else f"{' '.join(arguments)}: {outcome.text}\n"


def tasks(work: Work, scale: Scale, rng: random.Random) -> Iterator[Task]:
    """Batches for loaders, single files for commands."""
    there = {*scale.methods, *scale.cached, "meshed"}
    for file in (file for file, (reference, _) in LOADED.items() if reference in there):
        for k in range(0, scale.flips, BATCH):
            count, seed = min(BATCH, scale.flips - k), rng.random()
            call = partial(loaded, file=file, count=count, seed=seed)
            yield Task("damaged file, loaded", f"load-{Path(file).name}-{k}", call)
    for file in (file for file, (reference, _) in READ.items() if reference in there):
        for k in range(scale.damaged):
            call = partial(read_by_command, file=file, seed=rng.random())
            name = f"{READ[file][1]}-{file.replace('/', '-')}-{k}"
            yield Task("damaged file, command", name, call)


def damaged(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Damage done to a file, and the file."""
    place = rng.randrange(len(raw))
    how = rng.choice(("flip", "flip", "flip", "flip", "cut", "blank", "longer", "empty"))
    if how == "flip":
        bit = 1 << rng.randrange(8)
        return f"bit at {place}", raw[:place] + bytes([raw[place] ^ bit]) + raw[place + 1 :]
    if how == "cut":
        return f"cut at {place}", raw[:place]
    if how == "blank":
        size = min(512, len(raw) - place)
        return f"zeros at {place}", raw[:place] + bytes(size) + raw[place + size :]
    return how, raw + rng.randbytes(64) if how == "longer" else b""


def loaded(work: Work, trial: str, *, file: str, count: int, seed: float) -> list[Result]:
    """Damage a file again and again, load it each time."""
    kind = "damaged file, loaded"
    reference, read = LOADED[file]
    folder = work.trial(trial)
    raw, rng = (work.reference(reference) / file).read_bytes(), random.Random(seed)
    variants = [damaged(raw, rng) for _ in range(count)]
    whole = read(work.reference(reference) / file)

    def attempt(bad: bytes) -> str:
        target = folder / Path(file).name
        target.write_bytes(bad)
        try:
            found = read(target)
        except (ValueError, RuntimeError, OSError) as error:  # one line, says the command
            return "refused" if "\n" not in str(error) else "unclear"
        except Exception:
            return "traceback"
        return "equal" if found == whole else "silent"

    def work_inside() -> int:
        for _, bad in variants:
            print("verdict", attempt(bad))
        return 0

    outcome = trials.fork(work_inside, folder)
    verdicts = [line[8:] for line in outcome.text.splitlines() if line.startswith("verdict ")]
    verdicts += ["traceback"] * (count - len(verdicts))  # the loader took its process along
    return [
        Result(kind, trial, verdict, f"{file}: {how}")
        for (how, _), verdict in zip(variants, verdicts, strict=True)
    ]


def read_by_command(work: Work, trial: str, *, file: str, seed: float) -> Result:
    """Damage a file, let a command read it, judge what comes of it."""
    reference, verb = READ[file]
    folder = work.trial(trial, like=reference)
    path = _file(folder / file)
    before = path.read_bytes()
    how, bad = damaged(before, random.Random(seed))
    path.write_bytes(bad)
    outcome = trials.command(_arguments(work, verb), folder)
    verdict = outcome.verdict()
    if verdict is None:
        verdict = "refused" if outcome.status else _accepted(work, folder, file, before, bad)
        if verdict == "silent" and path.name in outcome.text:
            verdict = "said"
    return Result("damaged file, command", trial, verdict, f"{file}: {how}: {outcome.brief()}")


def _arguments(work: Work, verb: str) -> list[str]:
    return {
        "resume": tiny.train_arguments(work, "td3", *LONGER),
        "evaluate": tiny.EVALUATE,
        "optimum": tiny.optimum_arguments(work),
        "simulate": tiny.developed_arguments(work),
    }[verb]


def _file(path: Path) -> Path:
    return sorted(path.glob("*.npz"))[0] if path.is_dir() else path


def _accepted(work: Work, folder: Path, file: str, before: bytes, bad: bytes) -> str:
    """Equal where the damage changed neither what is read nor what comes out."""
    reference, verb = READ[file]
    if file == "run/config.yaml":
        same = yaml.safe_load(before) == yaml.safe_load(bad)
    elif verb == "resume":
        same = not content.run_differences(folder / "run", work.run("longer"))
    elif verb == "evaluate":
        name = "reference/meshed" if reference == "meshed" else "reference/evaluate"
        one, other = folder / "result.json", work.path / name / "result.json"
        same = content.json_file(one) == content.json_file(other)
    else:
        same = not kills.compare(work, reference, folder)
    return "equal" if same else "silent"
