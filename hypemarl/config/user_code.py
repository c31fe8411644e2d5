"""The user's code: modules and files that a command names, and what they register.

A configuration names systems, problems, algorithms and schemes that are registered already.
``--use`` on the command line imports the code that registers them. A run stores what it used, with
the SHA-256 of the files (``code`` in its configuration); that is imported only where the command
names it again, or trusts the run by ``--trust``.
"""

import hashlib
import importlib
import importlib.util
import pkgutil
import shlex
import sys
import traceback
import types
from collections.abc import Iterable
from pathlib import Path

from hypemarl.config.errors import ConfigError, nearest, quoted
from hypemarl.config.problems import PROBLEMS, classes_in, entry_of
from hypemarl.config.registry import ALGORITHMS, SCHEMES, SYSTEMS, Named
from hypemarl.config.sources import digest_of, search_working_folder

_USED: dict[str, str] = {}
"""Code that this process uses, and the SHA-256 of its files when they were imported."""
_SHA256 = " sha256:"


def use(code: str) -> list[Named]:
    """Register systems, problems, algorithms and schemes of the user's code; returns them.

    Local: on every rank.

    Args:
        code: ``MODULE`` or ``path/to/FILE.py``, for all that are there, or with ``:NAME`` for one.

    Raises:
        ConfigError: it cannot be imported, has no such thing, or one of a name that is taken.
    """
    names_one = ":" in code and not code.endswith(".py")
    place, _, name = code.rpartition(":") if names_one else (code, "", "")
    if place.endswith(".py"):
        place = str(Path(place).expanduser().absolute())
        sha256, module = digest_of(place), module_of_file(Path(place))
    else:
        search_working_folder(place)
        sha256, module = digest_of(place), imported(place)
    there: dict[str, Named] = {
        key: item for key, item in vars(module).items() if isinstance(item, Named)
    }
    there |= {key: entry_of(item) for key, item in classes_in(module).items()}
    if name and name not in there:
        raise ConfigError(
            f"{place} has no problem, system, algorithm or scheme {quoted(name)}"
            f"{nearest(name, there, '.')} It has: {', '.join(there) or 'none at all'}"
        )
    taken = [there[name]] if name else list(there.values())
    for item in taken:
        for registry in (SYSTEMS, ALGORITHMS, SCHEMES, PROBLEMS):
            registry.take(item)
    _USED.setdefault(f"{place}:{name}" if name else place, sha256)
    return taken


def use_flags() -> list[str]:
    """Options of a child's command line that use what this process uses."""
    return [word for code in _USED for word in ("--use", code)]


def used() -> tuple[str, ...]:
    """The code that was imported by :func:`use`, each entry with its SHA-256. Local."""
    return tuple(f"{code}{_SHA256}{sha256}" for code, sha256 in _USED.items())


def code_in(entry: str) -> str:
    """``entry`` of a configuration's ``code`` without the SHA-256: what :func:`use` takes."""
    return entry.partition(_SHA256)[0]


def remedy(stored: Iterable[str]) -> str:
    """How to name the code of a configuration; empty where this process uses all of it."""
    absent = [code for code in map(code_in, stored) if code not in _USED]
    if not absent:
        return ""
    words = " ".join(f"--use {shlex.quote(code)}" for code in absent)
    return f"; it was made with code of a user, which is imported only by {words}, or by --trust"


def note_other_code(where: object, stored: Iterable[str], consequence: str = "") -> bool:
    """Note that a run was made with other code than this process uses, if it uses any. Local.

    ``consequence``: ends the note. Returns whether there was a note.
    """
    now, changed = set(_USED.values()), False
    for entry in stored:
        code, _, sha256 = entry.partition(_SHA256)
        if now and sha256 and sha256 not in now:
            changed = True
            print(
                f"hypemarl: note: {where} was made with {code} as it was then (SHA-256 "
                f"{sha256[:12]}...), not with what is used now; its results may not be repeated"
                f"{consequence}",
                file=sys.stderr,
            )
    return changed


def imported(name: str, extra: str = "") -> types.ModuleType:
    """The module ``name``, of the package's extra ``extra`` if any. Local.

    Raises:
        ConfigError: it cannot be imported; says why, in one line.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"{name} needs the module {error.name}, which cannot be imported ({error}); "
                "install its package"
            ) from error
        remedy = f"; pip install 'hypemarl[{extra}]'" if extra else _where_searched(error.name)
        raise ConfigError(f"{name} cannot be imported ({error}){remedy}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(_import_failure(name, error)) from error


def module_of_file(path: Path) -> types.ModuleType:
    """The module in a file; its folder is searched for what it imports, as by ``python FILE``.

    Raises:
        ConfigError: there is no such file, or it fails.
    """
    if not path.is_file():
        there = [str(p.name) for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise ConfigError(f"{path}: no such file{nearest(path.name, there, '.')}")
    # a name that no other module has, though two files may be called alike
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigError(_import_failure(str(path), error)) from error
    return module


def _import_failure(name: str, error: BaseException) -> str:
    """One line for an error of a module while it is imported, with the line that raised it."""
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if isinstance(error, SystemExit):
        reason = "it ends the process; put what is no definition under if __name__ == '__main__'"
    return f"{name} fails while it is imported{last_line(error)}: {reason}"


def last_line(error: BaseException) -> str:
    """The last file and line of an error's traceback."""
    if isinstance(error, SyntaxError):
        return ""  # its text names them
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _where_searched(absent: str) -> str:
    """Modules with a name near that of the ``absent`` one, as a remedy."""
    above = absent.rpartition(".")[0]
    try:
        folders = importlib.import_module(above).__path__ if above else [str(Path.cwd()), *sys.path]
    except (AttributeError, ImportError):  # not a package
        folders = []
    dot = f"{above}." if above else ""
    hint = nearest(absent, [dot + m.name for m in pkgutil.iter_modules(folders)], ".")
    return f"{hint} Install its package, start in its folder, or name its file: FILE.py:FACTORY"
