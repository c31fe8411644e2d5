"""Sources of external environments: their forms, and which of them may be imported.

A source names Python code. A configuration may come from anyone, so that what it names is imported
only where the user says so: the command line names the same source (``--env``), or trusts all of
them (``--trust``), which :func:`trusted` holds for the length of the command. The environments of
known packages (:func:`is_registered`) need no word.
"""

import dataclasses
import hashlib
import importlib.util
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple

from hypemarl.config.errors import LONGEST_WORD, ConfigError, quoted
from hypemarl.config.external import ExternalConfig

FORMS = (
    "pettingzoo:MODULE:FACTORY",
    "pettingzoo:FILE.py:FACTORY",
    "vmas:SCENARIO",
    "mamujoco:ROBOT[:PARTITION]",
)
_KINDS = tuple(dict.fromkeys(form.partition(":")[0] for form in FORMS))
_REGISTERED = re.compile(
    r"vmas:\w+|mamujoco:\w+(:[\w|]+)?"
    r"|pettingzoo:(mpe2|pettingzoo\.(atari|butterfly|classic|mpe|sisl))\.\w+_v\d+(:parallel_env)?"
)


class _Trust(NamedTuple):
    sources: frozenset[str] = frozenset()
    everything: bool = False


_NOBODY = _Trust()
_TRUST: ContextVar[_Trust] = ContextVar("trust", default=_NOBODY)


class Source(NamedTuple):
    """The parts of ``env.external.source``."""

    kind: str
    place: str  # module or file, scenario, robot
    detail: str  # factory, partition; "" where the source names none

    @property
    def is_file(self) -> bool:
        """Whether the place is a Python file."""
        return self.kind == "pettingzoo" and self.place.endswith(".py")

    @property
    def text(self) -> str:
        """The source as it is written."""
        return ":".join(filter(None, self))


def parse(text: str) -> Source:
    """The parts of a source. Raises :class:`ConfigError` where it is of no known form."""
    kind, _, rest = text.partition(":")
    # a file's path may hold colons, a factory's name does not
    place, colon, detail = rest.rpartition(":") if ".py:" in rest else rest.partition(":")
    if kind not in _KINDS or not place or (colon and not detail):
        raise ConfigError(
            f"env.external.source: expected one of {', '.join(FORMS)}, got {quoted(text)}",
            "env.external.source",
        )
    return Source(kind, place, detail)


def absolute(text: str) -> str:
    """The source with the path of its file, if it has one, made absolute."""
    source = parse(text) if text else None
    if source is None or not source.is_file:
        return text
    return source._replace(place=os.path.abspath(Path(source.place).expanduser())).text


def is_registered(text: str) -> bool:
    """Whether the source is an environment of a package that hypemarl knows."""
    return _REGISTERED.fullmatch(text) is not None


@contextmanager
def trusted(*sources: str, everything: bool = False) -> Iterator[None]:
    """Let these external environments, or all, be imported inside the block.

    Example:
        >>> from hypemarl import config, envs
        >>> mine = "pettingzoo:mypackage.myenv:parallel_env"
        >>> with config.trusted(mine):
        ...     env = envs.make(config.load("external", [f"env.external.source={mine}"]).env)
    """
    outer = _TRUST.get()
    named = outer.sources | {absolute(source) for source in sources}
    token = _TRUST.set(_Trust(named, outer.everything or everything))
    try:
        yield
    finally:
        _TRUST.reset(token)


def trust_flags(config: ExternalConfig) -> list[str]:
    """Options of a child's command line that trust what this process trusts of ``config``."""
    text = config.source
    named = text and not is_registered(text) and _is_trusted(text)
    return ["--env", text] if named else []


def permitted(config: ExternalConfig) -> str:
    """The source of ``config`` that may be imported: its own, or the one it has moved to.

    A source that the user names stands for the configuration's where the factory and the SHA-256
    of the files are the same.

    Raises:
        ConfigError: the source is neither registered nor trusted. Nothing of it was imported.
    """
    text = config.source
    if is_registered(text) or _is_trusted(text):
        return text
    for other in sorted(_TRUST.get().sources):
        if has_moved(text, config.sha256, other):
            return other
    raise ConfigError(
        f"the configuration names the environment {quoted(text)}, which is Python code of no "
        f"package that hypemarl knows; nothing of it was run. If you trust it, say {_remedy(text)} "
        "(from Python: hypemarl.config.trusted)",
        "env.external.source",
    )


def has_moved(text: str, sha256: str, other: str) -> bool:
    """Whether the trusted source ``other`` is ``text``, whose files had this SHA-256, elsewhere."""
    moved, source = parse(other), parse(text)
    same_factory = (moved.kind, moved.detail) == (source.kind, source.detail)
    return bool(sha256) and same_factory and digest(other) == sha256


def _remedy(text: str) -> str:
    """Options that trust a source, whole, to be pasted into a shell."""
    word = shlex.quote(text)
    if not text.isprintable() or len(word) >= LONGEST_WORD:
        return "--trust"
    return f"--env {word} or --trust"


def digest(text: str) -> str:
    """The SHA-256 of the Python files behind a trusted source, "" where there are none."""
    source = parse(text)
    if source.kind != "pettingzoo" or is_registered(text):
        return ""
    return digest_of(source.place)


def digest_of(code: str) -> str:
    """The SHA-256 of a Python file or of a module, "" where there is none. Local.

    Of a module it is that of all files of its top-level package. Nothing is imported.
    """
    places = [Path(code)] if code.endswith(".py") else _files_of_module(code)
    files = [place for place in places if place.is_file()]
    digests = b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)
    return hashlib.sha256(digests).hexdigest() if files else ""


def say_changed(text: str, before: str, now: str) -> None:
    """Note on stderr that the source's files changed since the run began. Local."""
    if before and now and before != now:
        print(
            f"hypemarl: note: the files of {text} changed since the run began (SHA-256 "
            f"{before[:12]}... then, {now[:12]}... now); its results may not be repeated",
            file=sys.stderr,
        )


def stamped(config: ExternalConfig) -> ExternalConfig:
    """``config`` with the SHA-256 of its source's files as they are now. Local.

    Says so where it held another one. Raises :class:`ConfigError` as :func:`permitted` does.
    """
    text = permitted(config)
    now = digest(text)
    say_changed(text, config.sha256, now)
    return dataclasses.replace(config, sha256=now)


def search_working_folder(module: str) -> None:
    """Let ``module`` be found in the working folder, ahead of others, as by ``python -m``.

    Only for modules of trusted sources; for the others see :func:`require_installed`.
    """
    here, top = Path.cwd(), module.partition(".")[0]
    present = (here / f"{top}.py").is_file() or (here / top).is_dir()
    if present and str(here) not in sys.path:
        sys.path.insert(0, str(here))


def require_installed(module: str) -> None:
    """Refuse a known package that Python would take from the working folder. Imports nothing.

    Registered sources need no trust because their packages are known; a folder of the same name
    beside someone's configuration is not that package.

    Raises:
        ConfigError: its module or package lies there (``python -m`` puts that folder first).
    """
    top, here, spec = module.partition(".")[0], Path.cwd().resolve(), _spec_of(module)
    places = [] if spec is None else spec.submodule_search_locations or [spec.origin or ""]
    for place in map(Path, places):
        if place.is_absolute() and place.parent.resolve() == here:
            raise ConfigError(
                f"expected the installed package {top}, got {place} of the working folder, which "
                "nobody said to trust; nothing of it was run. Start in another folder or rename it",
                "env.external.source",
            )


def _spec_of(module: str) -> ModuleSpec | None:
    """The import spec of the top-level package of a module, None where there is none."""
    try:
        return importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):  # __main__, or a module that was put into place by hand
        return None


def _is_trusted(text: str) -> bool:
    trust = _TRUST.get()
    return trust.everything or absolute(text) in trust.sources


def _files_of_module(module: str) -> list[Path]:
    search_working_folder(module)
    spec = _spec_of(module)
    if spec is None:
        return []
    if not spec.submodule_search_locations:
        return [Path(spec.origin or "")]
    return [
        Path(folder) / name
        for location in spec.submodule_search_locations
        for folder, _, names in sorted(os.walk(location))
        for name in sorted(names)
        if name.endswith(".py")
    ]
