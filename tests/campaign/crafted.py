"""Files that would run code: each would make a marker file."""

from __future__ import annotations

import io
import os
import pickle
import random
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from . import tiny, trees, trials
from .plan import Scale, Task
from .report import Result
from .tiny import Work

MARKER = "CODE-WAS-RUN"
KIND = "crafted file"

Craft = Callable[[Path, str], None]
"""Puts a file into a folder that would run a shell command."""


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __reduce__(self) -> Any:
        return os.system, (self.text,)


def _pickle(name: str, protocol: int, folder: Path, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(Bomb(text), protocol))


def _torch_zip(name: str, folder: Path, text: str) -> None:
    """A checkpoint whose table of contents is another pickle."""
    path = folder / name
    with zipfile.ZipFile(path) as old:
        parts = {item: old.read(item) for item in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for item, raw in parts.items():
            bomb = item.endswith("data.pkl")
            new.writestr(item, pickle.dumps(Bomb(text), 2) if bomb else raw)


def _torch_save(name: str, folder: Path, text: str) -> None:
    import torch

    torch.save({"format": "hypemarl-checkpoint", "version": 1, "config": Bomb(text)}, folder / name)


def _npz(name: str, folder: Path, text: str) -> None:
    """Every array of an .npz, or one named ``times``, becomes an object array."""
    path = folder / name
    path = sorted(path.glob("*.npz"))[0] if path.is_dir() else path
    with np.load(path) as old:
        names = list(old.files)
    stream = io.BytesIO()
    bomb = np.array([Bomb(text)], dtype=object)
    np.savez(stream, **dict.fromkeys(names, bomb))  # type: ignore[arg-type]
    path.write_bytes(stream.getvalue())


def _text(name: str, body: str, folder: Path, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body.replace("COMMAND", text), encoding="utf-8")


def _named(source: str, options: list[str], folder: Path, text: str) -> None:
    """A run whose config.yaml names what is to be called."""
    path = folder / "run" / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    filled = [option.replace("COMMAND", text) for option in options]
    _make_external(config, {"source": source, "options": filled})
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    _text("evil.py", 'import os\nos.system("COMMAND")\ndef parallel_env(): ...\n', folder, text)
    shutil.copy(folder / "evil.py", folder / "run" / "evil.py")


def _make_external(settings: dict[str, Any], external: dict[str, Any]) -> None:
    """Change settings of a run into those of an external environment."""
    env = settings["env"]
    env.pop(env["system"], None)
    env |= {"system": "external", "external": external}
    settings["agent"]["credit"] = "local"


EVIL = 'import os\nos.system("COMMAND")\n'


def _shadow(path: str, source: str, folder: Path, text: str) -> None:
    """A module in the working folder, named as one that is imported anyway."""
    _text(path, EVIL, folder, text)
    settings = {"scenario": "external", "env": {"external": {"source": source}}} if source else {}
    _text("shadow.yaml", yaml.safe_dump(settings), folder, text)
    config = folder / "run" / "config.yaml"
    if source and config.is_file():
        stored = yaml.safe_load(config.read_text(encoding="utf-8"))
        _make_external(stored, {"source": source})
        config.write_text(yaml.safe_dump(stored), encoding="utf-8")


def _shadow_scenario(folder: Path, text: str) -> None:
    """The packages of all shipped external scenarios, in the working folder."""
    for module in ("mpe2.py", "vmas.py", "gymnasium_robotics.py", "pettingzoo.py"):
        _text(module, EVIL, folder, text)


SCRIPT = 'SystemCall "COMMAND";\nPoint(1) = {0, 0, 0};\n'
HEADER = "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n"
TAGS = {
    "apply": '!!python/object/apply:os.system ["COMMAND"]',
    "new": '!!python/object/new:os.system ["COMMAND"]',
    "name": "!!python/name:os.system",
    "module": "!!python/module:evil",
}
MESHES = {
    "script.msh": SCRIPT,
    "late-header.msh": SCRIPT + HEADER,
    "script-after-header.msh": HEADER + SCRIPT,
    "comment.msh": "// $MeshFormat\n" + SCRIPT,
    "crlf.msh": SCRIPT.replace("\n", "\r\n"),
    "blank.msh": "\n\n  " + SCRIPT,
    "mark.msh": "\ufeff" + SCRIPT,
    "CAPITAL.MSH": SCRIPT,
    "script.geo": SCRIPT,
    "script.msh2": SCRIPT,
    "script.opt": SCRIPT,
    "script.pos": SCRIPT,
    "merge.msh": 'Merge "other.geo";\n',
}
NAMED = {
    "os-system": ("pettingzoo:os:system", ["command=COMMAND"]),
    "subprocess": ("pettingzoo:subprocess:getoutput", ["cmd=COMMAND"]),
    "module": ("pettingzoo:evil:parallel_env", []),
    "module-in-run": ("pettingzoo:run.evil:parallel_env", []),
    "file": ("pettingzoo:evil.py:parallel_env", []),
    "file-in-run": ("pettingzoo:run/evil.py:parallel_env", []),
}
REGISTERED = {
    "mpe2/__init__.py": "pettingzoo:mpe2.simple_spread_v3",
    "mpe2.py": "pettingzoo:mpe2.simple_spread_v3",
    "pettingzoo/__init__.py": "pettingzoo:pettingzoo.mpe.simple_spread_v3",
    "vmas.py": "vmas:balance",
    "vmas/__init__.py": "vmas:balance",
    "gymnasium_robotics.py": "mamujoco:Ant",
}
"""A module in the working folder, and the registered environment that would import it."""

BESIDE = ("hypemarl/__init__.py", "numpy.py")
"""What stands beside an unpacked run folder, and would be imported by any process of ours."""

SHIPPED = ("vmas-dispersion", "vmas-navigation", "humanoid", "speaker-listener")


def _cases_of_shadows() -> Iterator[tuple[str, str | None, Craft, list[list[str]]]]:
    for path, source in REGISTERED.items():
        use = [["simulate", "shadow.yaml"], tiny.EVALUATE, ["train", "shadow.yaml", "--run", "new"]]
        yield f"shadow-{path.replace('/', '-')}", "td3", partial(_shadow, path, source), use
    for name in SHIPPED:
        yield f"shadow-{name}", None, _shadow_scenario, [["simulate", name]]
    seeds = ["train", "run/config.yaml", "--run", "more", "--seeds", "0", "1", "--jobs", "2"]
    for path in BESIDE:
        use = [tiny.EVALUATE, seeds]
        yield f"beside-{path.replace('/', '-')}", "td3", partial(_shadow, path, ""), use


def cases() -> Iterator[tuple[str, str | None, Craft, list[list[str]]]]:
    """Name, reference to copy, what is put there, and the commands that read it."""
    readers = [tiny.EVALUATE, ["train", "tiny.yaml", "--run", "run", "--resume", "--quiet"]]
    for file in ("best.pt", "last.pt"):
        name = f"run/checkpoints/{file}"
        for protocol in (0, 2, 4):
            yield f"pickle-{protocol}-{file}", "td3", partial(_pickle, name, protocol), readers
        yield f"torch-zip-{file}", "td3", partial(_torch_zip, name), readers
        yield f"torch-save-{file}", "td3", partial(_torch_save, name), readers
    render = [["render", "out", "--no-film"]]
    yield "npz", "developed", partial(_npz, "out/trajectory.npz"), render
    yield "npz-flow", "developed", partial(_npz, "cache"), [["simulate", "flow.yaml"]]
    yield (
        "npz-optimum",
        "optimum",
        partial(_npz, "cache/optima"),
        [["optimum", "tiny.yaml", "--quiet"]],
    )
    for tag, body in TAGS.items():
        for place in ("run/config.yaml", "scenario.yaml"):
            use = [tiny.EVALUATE] if place.startswith("run") else [["simulate", "scenario.yaml"]]
            yield f"yaml-{tag}-{place[:3]}", "td3", partial(_text, place, f"seed: {body}\n"), use
        setting = [["simulate", "density-1d", "--set", f"seed={body}"]]
        yield f"set-{tag}", None, partial(_text, "unused", ""), setting
    for name, body in MESHES.items():
        mesh = ["--set", f"env.mesh.file={name}"]
        use = [["mesh", "density-vacuum", *mesh], ["simulate", "density-vacuum", *mesh]]
        yield f"mesh-{name}", None, partial(_text, name, body), use
    for name, (source, options) in NAMED.items():
        use = [tiny.EVALUATE, ["render", "run", "--no-film"], ["diagnose", "run"]]
        use.append(["train", "run/config.yaml", "--run", "run", "--resume", "--quiet"])
        use.append(["simulate", "run/config.yaml"])
        yield f"named-{name}", "td3", partial(_named, source, options), use
    yield from _cases_of_shadows()


def tasks(work: Work, scale: Scale, rng: random.Random) -> Iterator[Task]:
    """Each crafted file with each command that reads it."""
    there = {None, *scale.methods, *scale.cached}
    possible = [case for case in cases() if case[1] in there]
    for name, like, craft, commands in possible[:: scale.crafted]:
        for number, arguments in enumerate(commands):
            call = partial(opened, like=like, craft=craft, arguments=arguments)
            yield Task(KIND, f"{name}-{number}", call)


def opened(
    work: Work, trial: str, *, like: str | None, craft: Craft, arguments: list[str]
) -> Result:
    """Let a command read a crafted file."""
    folder = work.trial(trial, like)
    shutil.copy(work.density, folder)
    shutil.copy(work.flow, folder)
    marker = folder / MARKER
    _text("other.geo", SCRIPT, folder, f"touch {marker}")
    craft(folder, f"touch {marker}")
    # `python -m` puts the working folder on the module path, as a user's terminal does
    fresh = "module" in trial and "named" in trial
    if trial.startswith("beside-"):
        # as installed: by itself it searches no working folder, nor may its children
        program = str(Path(sys.executable).parent / "hypemarl")
        outcome = trials.process([program, *arguments], folder)
    elif fresh:
        outcome = trials.process([*trees.HYPEMARL, *arguments], folder)
    else:
        outcome = trials.command(arguments, folder)
    if marker.exists():
        return Result(KIND, trial, "code run", outcome.brief())
    verdict = outcome.verdict() or ("refused" if outcome.status else "read as data")
    return Result(KIND, trial, verdict, outcome.brief())
