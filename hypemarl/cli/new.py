"""``hypemarl new``: a file with a problem of one's own to start from."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
from pathlib import Path

from hypemarl.cli.output import say
from hypemarl.config import ConfigError

TEMPLATE = "hypemarl.systems.problem.library.template"


def do_new(arguments: argparse.Namespace) -> None:
    """Write NAME.py, a problem that trains as it is. Raises ConfigError: there is such a file."""
    path = Path(arguments.name)
    path = path if path.suffix == ".py" else path.with_name(f"{path.name}.py")
    name = path.stem.replace("-", "_")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ConfigError(f"new: expected a name of letters, digits and _, got {path.stem!r}")
    title = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    spec = importlib.util.find_spec(TEMPLATE)
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8").replace("class Template", f"class {title}")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists: choose another name, or remove it") from error
    say(f"written {path}; next:")
    for command in ("simulate", "train", "optimum"):
        options = {"train": " --train apg --episodes 100", "optimum": " --held-out 2"}
        say(f"    hypemarl {command} {path}{options.get(command, '')}")
