"""Sources of external environments: imports, calls and refusals."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pettingzoo import ParallelEnv

from hypemarl import config
from hypemarl.cli.output import error_line
from hypemarl.config import ConfigError, ExternalConfig
from hypemarl.config.external import external_of
from hypemarl.config.sources import digest, is_registered
from hypemarl.envs.external.sources import open_source

OWN = """
import functools
from os import system
from pettingzoo import ParallelEnv
from pettingzoo.utils.conversions import parallel_wrapper_fn
from point_agents import PointAgents
from helper_beside import COUNT


class Mine(PointAgents):
    def __init__(self, size=COUNT, speed=1.0):
        super().__init__(int(size))


Two = functools.partial(Mine, size=2)


def make(size=3):
    return Mine(size)


def raw_env(size=3, colour="red"):
    return Mine(size)


def loose(**arguments):
    return raw_env(**arguments)


class Broken(Mine):
    def __init__(self):
        raise FileNotFoundError("no model.xml")


parallel_env = parallel_wrapper_fn(raw_env)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with modules of the user's own, which are forgotten afterwards."""
    (tmp_path / "ownenv.py").write_text(OWN)
    (tmp_path / "helper_beside.py").write_text("COUNT = 3\n")
    (tmp_path / "ending.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "failing.py").write_text("x = 1\ny = x / 0\n")
    (tmp_path / "wanting.py").write_text("import no_such_package_here\n")
    (tmp_path / "leaving.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    before, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def opened(source: str, *options: str, trust: bool = True) -> Any:
    with config.trusted(*([source] if trust else [])):
        return open_source(ExternalConfig(source, options))


@pytest.mark.parametrize("source", ["ownenv:Mine", "ownenv.py:Mine", "./ownenv.py:Two"])
def test_own_modules_and_files_open_where_they_are_named(source: str, folder: Path) -> None:
    env = opened(f"pettingzoo:{source}")
    assert isinstance(env, ParallelEnv)
    assert len(env.possible_agents) == (2 if source.endswith("Two") else 3)


def test_functions_of_the_module_make_environments(folder: Path) -> None:
    assert len(opened("pettingzoo:ownenv:make", "size=5").possible_agents) == 5
    assert len(opened("pettingzoo:ownenv:loose", "size=4").possible_agents) == 4


def test_what_nobody_named_is_not_imported(folder: Path) -> None:
    for source in ("leaving:parallel_env", f"{folder}/leaving.py:parallel_env", "os:system"):
        with pytest.raises(ConfigError, match="nothing of it was run"):
            opened(f"pettingzoo:{source}", "command=touch RAN", trust=False)
        with (
            pytest.raises(ConfigError, match="nothing of it was run"),
            config.trusted("vmas:flocking"),
        ):
            open_source(ExternalConfig(f"pettingzoo:{source}"))
    assert not (folder / "RAN").exists()
    with config.trusted(everything=True), pytest.raises(ConfigError):
        open_source(ExternalConfig("pettingzoo:leaving:parallel_env"))
    assert (folder / "RAN").exists()  # the import that trust allows


KNOWN = {
    "pettingzoo:mpe2.nothing_v3:parallel_env": "mpe2",
    "pettingzoo:pettingzoo.sisl.nothing_v4": "pettingzoo",
    "vmas:nothing": "vmas",
    "mamujoco:Nothing": "gymnasium_robotics",
}


@pytest.fixture
def shadows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with modules and packages that have the names of known packages."""
    code = f"open({str(folder / 'RAN')!r}, 'w')\n"
    for name in ("vmas", "gymnasium_robotics"):
        (folder / f"{name}.py").write_text(code)
    for name in ("mpe2", "pettingzoo"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(code)
    for name in list(sys.modules):
        if name.partition(".")[0] in ("mpe2", "vmas"):  # others ran them
            monkeypatch.delitem(sys.modules, name)
    return folder


@pytest.mark.parametrize("source", KNOWN)
def test_known_packages_are_never_taken_from_the_working_folder(source: str, shadows: Path) -> None:
    path = list(sys.path)
    with pytest.raises(Exception, match="(?i)nothing|pip install"):  # of the true package
        opened(source, trust=False)
    assert not (shadows / "RAN").exists()
    assert sys.path == path


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("source", ["pettingzoo:mpe2.nothing_v3:parallel_env", "vmas:nothing"])
def test_known_packages_of_a_searched_working_folder_are_refused(
    source: str, trust: bool, shadows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(shadows)  # as python -m does
    expected = rf"expected the installed package {KNOWN[source]}, got {shadows}/.* rename it"
    with pytest.raises(ConfigError, match=expected):
        opened(source, trust=trust)
    assert not (shadows / "RAN").exists()


def test_known_packages_installed_below_the_working_folder_open(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = folder / "site-packages" / "mpe2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "points_v1.py").write_text("from point_agents import PointAgents as parallel_env\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "mpe2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(package.parent)
    env = opened("pettingzoo:mpe2.points_v1:parallel_env", trust=False)
    assert type(env).__name__ == "PointAgents"


@pytest.mark.parametrize("name", ["with space", "it's", "a" * 90])
def test_the_advice_to_trust_can_be_pasted(name: str, folder: Path) -> None:
    source = f"pettingzoo:{folder}/{name}.py:Mine"
    with pytest.raises(ConfigError) as refused:
        opened(source, trust=False)
    words = shlex.split(error_line(refused.value).partition("say ")[2])
    assert words[:4] == ["--env", source, "or", "--trust"]


@pytest.mark.parametrize("name", ["a" * 300, "with\x1b[31m"])
def test_what_cannot_be_pasted_is_not_advised(name: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"If you trust it, say --trust \("):
        opened(f"pettingzoo:{folder}/{name}.py:Mine", trust=False)


@pytest.mark.parametrize(
    "source",
    ["os:system", "subprocess:getoutput", "ownenv:system", "builtins:eval", "ownenv:COUNT"],
)
def test_a_factory_is_known_by_type_before_it_is_called(source: str, folder: Path) -> None:
    options = ["command=touch RAN"] if "system" in source else ["cmd=touch RAN"]
    with pytest.raises(ConfigError, match=r"expected a subclass of pettingzoo\.ParallelEnv"):
        opened(f"pettingzoo:{source}", *options)
    assert not (folder / "RAN").exists()


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("ownenv:Mine", ["sise=3"], r"takes no option 'sise'; did you mean 'size'\? .*size, speed"),
        ("ownenv:make", ["sise=3"], r"takes no option 'sise'; did you mean 'size'"),
        ("ownenv:loose", ["sise=3"], "takes no option 'sise'"),
        (
            "ownenv:parallel_env",
            ["sise=3"],
            r"'sise'; did you mean 'size'\? It takes: size, colour",
        ),
        ("ownenv:Mina", [], r"no 'Mina'.*did you mean 'Mine'\? It has: .*Mine"),
        ("ownev:Mine", [], r"ownev cannot be imported .*did you mean 'ownenv'\?"),
        ("ownenw.py:Mine", [], r"no such file; did you mean 'ownenv\.py'"),
        ("ownenv:Mine", ["size=many"], r"cannot be made with .*ownenv\.py:12\): ValueError"),
        ("ownenv:Broken", [], "FileNotFoundError: no model.xml"),
        ("ending:Mine", [], r"fails while it is imported .*if __name__"),
        ("failing:Mine", [], r"failing\.py:2\): ZeroDivisionError"),
        ("failing.py:Mine", [], r"failing\.py:2\): ZeroDivisionError"),
        ("wanting:Mine", [], "wanting needs the module no_such_package_here"),
    ],
)
def test_misspellings_and_failures_are_one_line(
    source: str, options: list[str], message: str, folder: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        opened(f"pettingzoo:{source}", *options)
    assert "\n" not in str(refused.value)


def test_registered_environments_are_those_of_known_packages() -> None:
    known = [external_of(config.load(name).env) for name in config.scenarios()]
    shipped = [external.source for external in known if external is not None]
    assert all(is_registered(source) for source in shipped if source)
    assert is_registered("mamujoco:Humanoid:9|8")
    assert is_registered("pettingzoo:pettingzoo.sisl.multiwalker_v9:parallel_env")
    for other in (
        "vmas:../../tmp/x",
        "pettingzoo:mpe2.simple_v3:os",
        "pettingzoo:mpe2evil.simple_v3:parallel_env",
        "pettingzoo:pettingzoo.utils.conversions:parallel_to_aec",
        "pettingzoo:mpe2.simple_v3.py:parallel_env",
    ):
        assert not is_registered(other), other


def test_the_digest_is_that_of_the_file_or_of_all_of_a_package(folder: Path) -> None:
    module, file = (f"pettingzoo:{place}:Mine" for place in ("ownenv", "ownenv.py"))
    assert digest(module) == digest(file) != ""
    (folder / "pack").mkdir()
    for name in ("__init__", "inner"):
        (folder / "pack" / f"{name}.py").write_text("raise RuntimeError('imported')\n")
    before = digest("pettingzoo:pack.inner:Mine")
    (folder / "pack" / "__init__.py").write_text("changed = True\n")
    assert digest("pettingzoo:pack.inner:Mine") != before
