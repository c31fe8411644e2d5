"""Flip bits, cut, blank and lengthen every file that is read back."""

from __future__ import annotations

import math
import random
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from . import content, kills, tiny, trees, trials
from .plan import Scale, Task
from .report import Result
from .tiny import Work

BATCH = 50
LONGER = ["--episodes", str(tiny.EPISODES + 2), "--resume"]
PAIR = ["--seeds", "0", "1", "--jobs", "2", "--quiet"]
SAID = re.compile(r"\b(note|damaged|changed|checksum)\b", re.IGNORECASE)
RAW = re.compile(
    r"PytorchStreamReader|enforce fail|miniz|unpickl|\.cpp\b|torch\.load", re.IGNORECASE
)
"""Words of the libraries below, which no user can make anything of."""
MESHED: dict[str, Any] = {
    **tiny.DENSITY,
    "scenario": "density-vacuum",
    "env": {"mesh": {"file": "m.msh"}, "agents": [2, 2], "horizon": 0.4, "control_steps": 4},
}
SPLIT: dict[str, Any] = MESHED | {
    "env": MESHED["env"]
    | {
        "mesh": {
            "file": "cells.xdmf",
            "facet_file": "facets.xdmf",
            "names": ["left=2", "right=3", "bottom=4", "top=5"],
        }
    }
}
CURVE: dict[str, Any] = {
    "scenario": "shape-morphing",
    "env": {
        "mesh": {
            "obstacle": "points",
            "obstacle_file": "curve.dat",
            "obstacle_length": 0.8,
            "element_size": 0.6,
            "disc_element_size": 0.1,
        },
        "agents": [4],
        "horizon": 1.0,
        "control_steps": 1,
    },
    "agent": tiny.DENSITY["agent"],
    "training": tiny.DENSITY["training"]
    | {"episodes": 2, "random_episodes": 1, "validation_size": 1, "held_out_size": 1},
}
LOADED: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "run/checkpoints/last.pt": ("td3", content.checkpoint),
    "run/checkpoints/best.pt": ("td3", content.checkpoint),
    "run/checkpoints/records.npz": ("td3", content.arrays),
    "out/trajectory.npz": ("developed", content.trajectory),
    "out/uncontrolled.npz": ("drawn", content.trajectory),
}
"""Files that the product's loaders read, by the hundred in one process: reference, loader."""

READ: dict[str, tuple[str, str]] = {
    "run/checkpoints/last.pt": ("td3", "resume"),
    "run/checkpoints/best.pt": ("td3", "evaluate"),
    "run/checkpoints/records.npz": ("td3", "resume"),
    "run/config.yaml": ("td3", "evaluate"),
    "run/metrics.jsonl": ("td3", "resume"),
    "run/evaluation.json": ("evaluate", "evaluate"),
    "run/seed0/job.yaml": ("pair", "pair"),
    "cache/optima": ("optimum", "optimum"),
    "cache": ("developed", "simulate"),
    "out/trajectory.npz": ("drawn", "render"),
    "out/uncontrolled.npz": ("drawn", "render"),
    "m.msh": ("meshed", "evaluate"),
    "cells.xdmf": ("split", "evaluate"),
    "cells.h5": ("split", "evaluate"),
    "facets.xdmf": ("split", "evaluate"),
    "facets.hdf5": ("split", "evaluate"),
    "curve.dat": ("curve", "evaluate"),
}
"""Files that commands read or replace: reference, command. A folder stands for its first file."""

DEAR = ("pair", "render")
"""Commands of several seconds, which get a quarter of the trials."""


def prepare(work: Work) -> str:
    """Runs that go on unharmed, and runs on files of the user's; some only in a whole campaign."""
    folder = work.reference("longer")
    shutil.copytree(work.reference("td3"), folder)
    words = _do(tiny.train_arguments(work, "td3", *LONGER), folder)
    folder = work.reference("meshed")
    folder.mkdir()
    sizes = ["--set", "env.agents=[2, 2]", "--element-size", "0.4"]
    words += _do(["mesh", "density-vacuum", *sizes, "--output", "m.msh"], folder)
    words += _trained(MESHED, folder)
    if not work.reference("developed").is_dir():
        return words
    _split(folder / "m.msh", work.reference("split"))
    words += _trained(SPLIT, work.reference("split"))
    folder = work.reference("curve")
    folder.mkdir()
    angles = [math.tau * (k % 24) / 24 for k in range(25)]
    rows = [f"{0.5 + 0.5 * math.cos(t):.6f} {0.25 * math.sin(t):.6f}\n" for t in angles]
    (folder / "curve.dat").write_text("".join(rows), encoding="utf-8")
    return words + _trained(CURVE, folder) + _drawn(work) + _pair(work)


def _trained(settings: dict[str, Any], folder: Path) -> str:
    """Train and evaluate a run on the files in ``folder``."""
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    words = _do(["train", "mine.yaml", "--run", "run", "--quiet"], folder)
    return words + _do(tiny.EVALUATE, folder)


def _split(whole: Path, folder: Path) -> None:
    """Cells and facets of a gmsh file as two XDMF files with HDF5 files of either suffix."""
    import meshio

    folder.mkdir()
    mesh = meshio.read(whole)
    points = mesh.points[:, :2]
    numbers = mesh.cell_data_dict["gmsh:physical"]["line"]
    cells, facets = ([(name, mesh.cells_dict[name])] for name in ("triangle", "line"))
    meshio.Mesh(points, cells).write(folder / "cells.xdmf")
    marked = meshio.Mesh(points, facets, cell_data={"name_to_read": [numbers]})
    marked.write(folder / "facets.xdmf")
    (folder / "facets.h5").rename(folder / "facets.hdf5")
    text = (folder / "facets.xdmf").read_text(encoding="utf-8")
    text = text.replace("facets.h5:", "facets.hdf5:")
    (folder / "facets.xdmf").write_text(text, encoding="utf-8")


def _drawn(work: Work) -> str:
    """A recorded flow and the same beside it as its uncontrolled reference, drawn."""
    folder = work.reference("drawn")
    shutil.copytree(work.reference("developed"), folder)
    shutil.copy(folder / "out" / "trajectory.npz", folder / "out" / "uncontrolled.npz")
    return _do(RENDER, folder)


def _pair(work: Work) -> str:
    """Two seeds side by side, and the same resumed: rates follow from the number of episodes."""
    first, longer = work.reference("pair"), work.reference("longer-pair")
    outcome = trials.process([*trees.HYPEMARL, *_pair_arguments(work, 4)], first)
    shutil.copytree(first, longer)
    after = trials.process([*trees.HYPEMARL, *_pair_arguments(work, 6), "--resume"], longer)
    bad = [end for end in (outcome, after) if end.status != 0]
    return "".join(f"two seeds: {end.text}\n" for end in bad)


def _pair_arguments(work: Work, episodes: int) -> list[str]:
    return tiny.train_arguments(work, "apg", *PAIR, "--episodes", str(episodes))


RENDER = ["render", "out", "--no-film"]


def _do(arguments: list[str], folder: Path) -> str:
    outcome = trials.command(arguments, folder)
    return "" if outcome.status == 0 else f"{' '.join(arguments)}: {outcome.text}\n"


def tasks(work: Work, scale: Scale, rng: random.Random) -> Iterator[Task]:
    """Batches for loaders, single files for commands."""
    there = {*scale.methods, *scale.cached, "meshed"}
    there |= {name for name, _ in READ.values() if work.reference(name).is_dir()}
    for file in (file for file, (reference, _) in LOADED.items() if reference in there):
        for k in range(0, scale.flips, BATCH):
            count, seed = min(BATCH, scale.flips - k), rng.random()
            call = partial(loaded, file=file, count=count, seed=seed)
            yield Task("damaged file, loaded", f"load-{Path(file).name}-{k}", call, count)
    for file in (file for file, (reference, _) in READ.items() if reference in there):
        dear = READ[file][1] in DEAR
        for k in range(max(1, scale.damaged // 4) if dear else scale.damaged):
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
        except (ValueError, RuntimeError, OSError) as error:
            return "refused" if is_clear(error, target.name) else "unclear"
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


def is_clear(error: Exception, name: str) -> bool:
    """Whether an error of the product's own says in one line what is wrong with the file."""
    own = type(error).__module__.partition(".")[0] == "hypemarl"
    text = str(error)
    return own and "\n" not in text and name in text and not RAW.search(text)


def is_said(text: str, name: str) -> bool:
    """Whether a line about the file says that it was found to be damaged or changed."""
    return any(name in line and SAID.search(line.replace(name, "")) for line in text.splitlines())


def read_by_command(work: Work, trial: str, *, file: str, seed: float) -> Result:
    """Damage a file, let a command read it, judge what comes of it."""
    reference, verb = READ[file]
    folder = work.trial(trial, like=reference)
    path = _file(folder / file)
    before = path.read_bytes()
    how, bad = damaged(before, random.Random(seed))
    path.write_bytes(bad)
    for result in (folder / "result.json", *(folder / "out").rglob("*.png")):
        result.unlink(missing_ok=True)  # what comes out is to be new
    if verb == "pair":
        outcome = trials.process([*trees.HYPEMARL, *_arguments(work, verb)], folder)
    else:
        outcome = trials.command(_arguments(work, verb), folder)
    verdict = outcome.verdict()
    if verdict is None:
        verdict = "refused" if outcome.status else _accepted(work, folder, file, before, bad)
        if verdict == "silent" and is_said(outcome.text, path.name):
            verdict = "said"
    return Result("damaged file, command", trial, verdict, f"{file}: {how}: {outcome.brief()}")


def _arguments(work: Work, verb: str) -> list[str]:
    return {
        "resume": tiny.train_arguments(work, "td3", *LONGER),
        "evaluate": tiny.EVALUATE,
        "optimum": tiny.optimum_arguments(work),
        "simulate": tiny.developed_arguments(work),
        "render": RENDER,
        "pair": [*_pair_arguments(work, 6), "--resume"],
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
        like = work.reference("evaluate" if reference == "td3" else reference)
        names = ("result.json", "run/evaluation.json")
        same = all(content.json_file(folder / n) == content.json_file(like / n) for n in names)
    elif verb == "render":
        # what is drawn is what was read
        one, other = _pictures(folder), _pictures(work.reference(reference))
        same = bool(other) and one == other
    elif verb == "pair":
        runs = [(folder / "run" / s, work.run("longer-pair") / s) for s in ("seed0", "seed1")]
        same = not any(content.run_differences(*pair) for pair in runs)
    else:
        same = not kills.compare(work, reference, folder)
    return "equal" if same else "silent"


def _pictures(folder: Path) -> dict[str, bytes]:
    """Bytes of all pictures by their names."""
    return {path.name: path.read_bytes() for path in (folder / "out").rglob("*.png")}
