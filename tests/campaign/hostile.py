"""Mutated configurations and meshes: refused with a sentence, or run to finite numbers."""

from __future__ import annotations

import copy
import random
import re
import resource
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from . import tiny, trials
from .plan import Scale, Task
from .report import Result
from .tiny import Work

MEMORY = 3 * 2**30  # bytes that a trial may take beyond what it starts with
PATIENCE = 40.0
GREEDY = 5.0  # seconds for a configuration that asks for very much work

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 17, 10**9, -(10**9), 10**30, 2**63),
    *(0.0, -0.5, 1e-12, 0.3, 1e9, 1e300, -1e300, float("nan"), float("inf"), -float("inf")),
    *("", "x", "nan", "1e5", "-", "null", "density-1d", "a" * 5000, "\u202e\x07", "../..", "1_000"),
    *([], [1], [0], [-1], [1, 2], [[1]], ["a"], [None], [1e300], [3] * 500, {}, {"a": 1}),
    *({"file": "nowhere.msh"}, {1: 2}),
)
SYNTAX = ("{", "}", "[", ":", "- ", "\t", "&a ", "*a", "!!int ", "---\n", "\x00", '"', "%", "| ")


def prepare(work: Work) -> str:
    """Sound mesh files of every format that is read."""
    folder = work.reference("meshes")
    words = ""
    for shape in ("square", "square-with-disc"):
        for suffix in (".msh", ".vtu", ".xdmf", ".vtk"):
            size = ["--shape", shape, "--element-size", "0.5", "--set", "env.agents=[2, 2]"]
            output = ["--output", f"{shape}{suffix}"]
            outcome = trials.command(["mesh", "density-vacuum", *size, *output], folder)
            words += "" if outcome.status == 0 else f"{output[1]}: {outcome.text}"
    return words


def tasks(work: Work, scale: Scale, rng: random.Random) -> Iterator[Task]:
    """Configurations, then meshes."""
    for k in range(scale.configurations):
        call = partial(configuration, seed=rng.random())
        yield Task("mutated configuration", f"config-{k}", call)
    for k in range(scale.meshes):
        yield Task("mutated mesh", f"mesh-{k}", partial(mesh, seed=rng.random()))


def configuration(work: Work, trial: str, *, seed: float) -> Result:
    """Mutate one to three entries of a small configuration, and train or simulate with it."""
    kind, rng, folder = "mutated configuration", random.Random(seed), work.trial(trial)
    text, how, greedy = mutated_configuration(rng)
    (folder / "mine.yaml").write_bytes(text)
    train = rng.random() < 0.5
    arguments = ["train", "mine.yaml", "--run", "run", "--quiet"]
    limit = GREEDY if greedy else PATIENCE
    outcome = trials.command(
        arguments if train else ["simulate", "mine.yaml"], folder, prepare=_bounded, limit=limit
    )
    verdict, detail = outcome.verdict(), f"{how}: {outcome.brief()}"
    if verdict == "hang" and greedy:
        return Result(kind, trial, "stopped, as it asks for very much", detail)
    if verdict is None:
        verdict = "refused" if outcome.status else _sound(outcome.text)
    return Result(kind, trial, verdict, detail)


def _bounded() -> None:
    """Bound the memory, so that a greedy trial fails and not the machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _sound(text: str) -> str:
    """Whether a command that ended well printed numbers only."""
    return "silent" if re.search(r"(?<![\w.])(nan|inf)\b", text.lower()) else "ran"


def mutated_configuration(rng: random.Random) -> tuple[bytes, str, bool]:
    """The file, what was done, and whether it asks for very much work or memory."""
    settings, notes = copy.deepcopy(tiny.DENSITY), []
    settings["env"] |= WIDER["env"]
    settings["training"]["episodes"] = 3
    sound = copy.deepcopy(settings)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.choice(list(_places(settings)))
        value = rng.choice(VALUES)
        how = rng.choice((*["scale"] * 5, *["value"] * 5, "key", "gone", "section"))
        holder = settings
        for name in place[:-1]:
            holder = holder[name]
        old = holder[place[-1]]
        if how == "scale" and isinstance(old, int | float):
            # sound by its form: what it means is what is tried
            value = type(old)(old * rng.choice((0.5, 2, 3, -1, 10)))
        if how in ("value", "scale"):
            holder[place[-1]] = value
        elif how == "section":
            settings[rng.choice(("env", "agent", "training", "new"))] = value
        else:
            del holder[place[-1]]
            if how == "key":
                holder[str(place[-1]) + rng.choice("sx_ ")] = old
        notes.append(f"{'.'.join(map(str, place))} {how} {repr(value)[:40]}")
        if not isinstance(settings.get("env"), dict):
            break
    raw = yaml.safe_dump(settings, allow_unicode=True).encode("utf-8", "surrogatepass")
    if rng.random() < 0.25:
        at = rng.randrange(len(raw))
        piece = rng.choice(SYNTAX)
        raw = raw[:at] + piece.encode() + raw[at:]
        notes.append(f"{piece!r} at {at}")
    return raw, "; ".join(notes), asks_for_much(raw, sound)


def asks_for_much(raw: bytes, sound: dict[str, Any]) -> bool:
    """Whether a file of known keys only asks for very much work, or leaves it to the defaults.

    Where it is no YAML, or holds an unknown key, it has to be refused at once.
    """
    try:
        settings = yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError):
        return False
    if not isinstance(settings, dict):
        return False
    known, there = set(_places(sound)), set(_places(settings))
    if there - known:
        return False
    values = [_at(settings, place) for place in there]
    if any(_greedy(value) for value in values if not isinstance(value, dict)):
        return True
    # keys that make the problem small are missing
    gone = (place for place in known - there if place[:-1] in (*there, ()))
    return any(isinstance(_at(settings, place[:-1]), dict) for place in gone)


def _at(settings: Any, place: tuple[Any, ...]) -> Any:
    for name in place:
        settings = settings[name]
    return settings


WIDER: dict[str, Any] = {
    "env": {
        "beta": 0.02,
        "viscosity": 1e-3,
        "u_max": 1.0,
        "initial_low": [-0.5],
        "initial_high": [0.0],
        "observation_radius": 1,
        "reward": "own",
        "max_time_step": 0.01,
    }
}


def _places(settings: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(settings, dict):
        for name, value in settings.items():
            yield (*prefix, name)
            yield from _places(value, (*prefix, name))


def _greedy(value: Any) -> bool:
    entries = value if isinstance(value, list) else [value]
    numbers = [abs(float(e)) for e in entries if isinstance(e, int | float) and e == e]
    numbers += [abs(float(e)) for e in entries if isinstance(e, str) and re.fullmatch(r"\de\d", e)]
    return any(number >= 1e5 or 0 < number <= 1e-6 for number in numbers) or len(entries) > 99


def mesh(work: Work, trial: str, *, seed: float) -> Result:
    """Mutate a mesh file, let ``mesh`` read it and ``simulate`` run on it."""
    kind, rng, folder = "mutated mesh", random.Random(seed), work.trial(trial)
    source = rng.choice(sorted(work.reference("meshes").glob("square*")))
    how, raw = mutated_mesh(source.read_bytes(), rng)
    (folder / source.name).write_bytes(raw)
    setting = ["--set", f"env.mesh.file={source.name}", "--set", "env.agents=[2, 2]"]
    read = ["mesh", "density-vacuum", *setting, "--output", "out.vtu"]
    outcome = trials.command(read, folder, prepare=_bounded, limit=PATIENCE)
    detail = f"{source.name}: {how}: {outcome.brief()}"
    if outcome.verdict() or outcome.status:
        return Result(kind, trial, outcome.verdict() or "refused", detail)
    if fault := mesh_fault(folder / "out.vtu"):
        return Result(kind, trial, "silent", f"{source.name}: {how}: accepted, but {fault}")
    short = ["--set", "env.horizon=0.1", "--set", "env.control_steps=2"]
    short += ["--set", "agent.batch_steps=0"]
    run = ["simulate", "density-vacuum", *setting, *short, "--policy", "constant"]
    outcome = trials.command(run, folder, prepare=_bounded, limit=PATIENCE)
    verdict = outcome.verdict() or ("refused" if outcome.status else _sound(outcome.text))
    return Result(kind, trial, verdict, f"{source.name}: {how}: {outcome.brief()}")


def mutated_mesh(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A change of a line, a number, a section or a byte."""
    lines = raw.decode("latin-1").split("\n")
    at = rng.randrange(len(lines))
    how = rng.choice(("number", "number", "number", "line", "twice", "swap", "cut", "byte", "head"))
    if how == "number":
        numbered = [k for k, line in enumerate(lines) if re.search(r"\d", line)]
        at = rng.choice(numbered)
        found = list(re.finditer(r"-?\d+(\.\d+)?(e[-+]?\d+)?", lines[at]))
        spot = rng.choice(found)
        new = rng.choice(("nan", "1e300", "-1", "0", "999999", "3", "1.5", "x", "1e-300", "-0.4"))
        lines[at] = lines[at][: spot.start()] + new + lines[at][spot.end() :]
        how = f"number {spot.group()[:12]} of line {at + 1} becomes {new}"
    elif how == "line":
        del lines[at]
    elif how == "twice":
        lines.insert(at, lines[at])
    elif how == "swap":
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif how == "cut":
        lines = lines[:at]
    elif how == "head":
        lines[0] = rng.choice(("", "$Nodes", "<xml>", "# x", "\x00" * 9))
    else:
        place = rng.randrange(len(raw))
        return f"byte at {place}", raw[:place] + rng.randbytes(1) + raw[place + 1 :]
    return f"{how} at line {at + 1}", "\n".join(lines).encode("latin-1")


def mesh_fault(path: Path) -> str | None:
    """Fault of accepted triangles: numbers, empty cells, or cells turned over."""
    import meshio

    read = meshio.read(path)
    cells = read.cells_dict.get("triangle", np.zeros((0, 3), dtype=int))
    corners = read.points[cells][..., :2]
    if not np.isfinite(corners).all():
        return "its coordinates are not finite"
    (ax, ay), (bx, by) = ((corners[:, k] - corners[:, 0]).T for k in (1, 2))
    areas = 0.5 * (ax * by - ay * bx)
    if not len(areas) or np.abs(areas).min() <= 1e-12 * np.abs(areas).max():
        return "a cell has no area"
    return _overlap(cells, areas)


def _overlap(cells: np.ndarray, areas: np.ndarray) -> str | None:
    """Cells made positive pass each shared edge once in each direction, unless one is folded."""
    turned = np.where(areas[:, None] < 0, cells[:, ::-1], cells)
    edges = np.concatenate([turned[:, [0, 1]], turned[:, [1, 2]], turned[:, [2, 0]]])
    directed, counts = np.unique(edges, axis=0, return_counts=True)
    return "cells overlap" if len(directed) and (counts > 1).any() else None
