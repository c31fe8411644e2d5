"""Set-up: what an install pulls, how the interpreter is found, when .venv is made anew."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FEM = {"dolfinx", "dolfinx-solver-real", "fenics-dolfinx", "mpi4py", "petsc4py", "gmsh", "h5py"}


def names(requirements: list[str]) -> set[str]:
    """Distribution names without versions and markers."""
    return {re.split(r"[^\w.-]", item, maxsplit=1)[0].lower() for item in requirements}


def test_a_plain_install_pulls_nothing_of_the_finite_element_stack():
    required = metadata.requires("hypemarl")
    assert required
    assert not FEM & names([item for item in required if "extra ==" not in item])
    assert names([item for item in required if 'extra == "fem"' in item]) <= FEM


def test_every_direct_requirement_is_pinned_without_an_address():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = (ROOT / ".ci/constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+", pin) for pin in pins)
    pinned = {pin.split("==")[0].lower().replace("_", "-") for pin in pins}
    for group in (project["dependencies"], *project["optional-dependencies"].values()):
        assert names(group) <= pinned


def test_importing_the_package_loads_neither_torch_nor_dolfinx():
    code = "import sys, hypemarl; print({'torch', 'dolfinx', 'pyvista'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_pins_keep_what_is_there_and_fill_up_from_the_constraints(tmp_path):
    shutil.copy(ROOT / ".ci/pins.py", tmp_path)
    (tmp_path / "constraints.txt").write_text("# why\nnumpy==0.0.1\nnot_there==1.2\n")
    script = [sys.executable, str(tmp_path / "pins.py")]
    kept = subprocess.run(script, capture_output=True, text=True, check=True).stdout.split()
    assert {f"numpy=={metadata.version('numpy')}", "not-there==1.2"} <= set(kept)
    assert not any(pin.startswith(("hypemarl==", "pip==")) for pin in kept)
    bare = subprocess.run([*script, "--bare"], capture_output=True, text=True, check=True).stdout
    assert bare.split() == ["not-there==1.2", "numpy==0.0.1"]


@pytest.fixture
def checkout(tmp_path):
    """A folder with what `.ci/env.sh` reads, and a PATH of its own without any Python."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "cat", "dirname", "env", "flock", "grep", "rm", "sha256sum", "sort"):
        if found := shutil.which(tool):
            (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def run(checkout: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout with its own PATH."""
    keep = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "HYPEMARL_INSTALLER")}
    return subprocess.run(
        command,
        cwd=checkout,
        env={**keep, "PATH": str(checkout / "bin"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def executable(path: Path, content: str) -> None:
    path.write_text(f"#!/usr/bin/env bash\n{content}\n")
    path.chmod(0o755)


def test_a_machine_without_python_is_told_what_to_install(checkout):
    result = run(checkout, ".ci/env.sh")
    assert result.returncode == 1
    assert "no Python >= 3.12" in result.stderr
    assert "python3.12-venv" in result.stderr


def test_an_unfit_interpreter_that_the_user_names_is_refused(checkout):
    executable(checkout / "bin/old", "exit 1")
    result = run(checkout, ".ci/env.sh", PYTHON="old")
    assert result.returncode == 1
    assert "PYTHON=old does not run or is older than 3.12" in result.stderr


def test_shims_that_do_not_run_are_passed_over_and_pyenv_is_asked(checkout):
    executable(checkout / "bin/python3", "exit 127")  # a pyenv shim of a version not chosen here
    executable(checkout / "bin/python3.12", "exit 127")
    prefix = checkout / "versions/3.13.0"
    (prefix / "bin").mkdir(parents=True)
    executable(prefix / "bin/python", '[ "$1" = -c ] && [[ $2 != *dolfinx* ]]')
    versions = "printf '%s\\n' 2.7.18 3.11.7 3.13.0"
    executable(checkout / "bin/pyenv", f'[ "$1" = versions ] && {versions} || echo "{prefix}"')
    result = run(checkout, "bash", "-c", "source .ci/env.sh; find_python")
    assert result.stdout.strip() == str(prefix / "bin/python"), result.stderr


def test_an_interpreter_with_dolfinx_comes_before_one_without(checkout):
    executable(checkout / "bin/python3", "[[ $2 != *dolfinx* ]]")
    executable(checkout / "bin/python3.13", "exit 0")
    result = run(checkout, "bash", "-c", "source .ci/env.sh; find_python")
    assert result.stdout.strip() == "python3.13", result.stderr


def test_a_finished_environment_is_left_alone_until_the_pins_change(checkout):
    (checkout / ".venv").mkdir()
    stamp = run(checkout, "bash", "-c", "source .ci/env.sh; wanted").stdout
    (checkout / ".venv/.hypemarl").write_text(stamp)
    assert run(checkout, ".ci/env.sh").returncode == 0
    with (checkout / ".ci/constraints.txt").open("a") as file:
        file.write("numpy==0.0.1\n")
    assert run(checkout, ".ci/env.sh").returncode == 1  # it looks for an interpreter: none here


@pytest.mark.parametrize(
    ("stamp", "interrupted", "usable"),
    [
        ("sum\n{venv}\n", False, True),
        ("sum\n/elsewhere/.venv\n", False, False),
        (None, True, False),
    ],
)
def test_interrupted_and_moved_environments_are_made_anew(checkout, stamp, interrupted, usable):
    venv = checkout / ".venv"
    (venv / "bin").mkdir(parents=True)
    executable(venv / "bin/python", "exit 0")
    if stamp:
        (venv / ".hypemarl").write_text(stamp.format(venv=venv))
    if interrupted:
        (venv / ".hypemarl-started").touch()
    result = run(checkout, "bash", "-c", "source .ci/env.sh; usable")
    assert (result.returncode == 0) == usable


def test_an_unknown_installer_is_refused(checkout):
    result = run(checkout, "bash", "-c", "source .ci/env.sh; installer", HYPEMARL_INSTALLER="conda")
    assert result.returncode == 1
    assert "must be uv or pip, got conda" in result.stderr
