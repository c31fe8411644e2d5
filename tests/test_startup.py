"""Set-up by the first import of hypemarl."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hypemarl import startup


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        check=False,
    )


def test_petsc_ahead_of_torch_is_refused_with_what_to_do() -> None:
    bad = "from mpi4py import MPI; import dolfinx.fem.petsc; import hypemarl.agents"
    done = python(f"import dolfinx_solver\n{bad}" if _is_wheel() else bad)
    assert done.returncode == 1
    assert "put `import torch` ahead of it" in done.stderr


def test_ctrl_c_during_the_imports_ends_in_one_line() -> None:
    stopped = (
        "import builtins, sys\n"
        "real = builtins.__import__\n"
        "def stop(name, *rest):\n"
        "    if name == 'hypemarl.cli':\n"
        "        raise KeyboardInterrupt\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = stop\n"
        "from hypemarl.__main__ import main\n"
        "sys.exit(main())"
    )
    done = python(stopped)
    assert (done.returncode, done.stderr) == (130, "hypemarl: interrupted\n")


def test_an_unwritable_cache_falls_back_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(startup.tempfile, "tempdir", str(tmp_path))
    for rank, said in (("0", True), ("1", False)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
        monkeypatch.setenv("PMI_RANK", rank)
        startup.use_writable_cache()
        folder = Path(os.environ["XDG_CACHE_HOME"])
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o077 == 0
        assert ("set XDG_CACHE_HOME to a folder that stays" in capsys.readouterr().err) == said
    startup.use_writable_cache()  # it is writable now
    assert capsys.readouterr().err == ""


def test_a_folder_of_another_user_takes_no_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"hypemarl-cache-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(startup.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    startup.use_writable_cache()
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / "file")
    assert "that you may write" in capsys.readouterr().err


def _is_wheel() -> bool:
    import importlib.util

    return importlib.util.find_spec("dolfinx_solver") is not None


def test_petsc_leaves_signals_alone_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for before, after in (("", "-no_signal_handler"), ("-signal_handler", "-signal_handler")):
        monkeypatch.setenv("PETSC_OPTIONS", before)
        startup.leave_signals_alone()
        assert os.environ["PETSC_OPTIONS"] == after


def test_a_command_whose_output_is_closed_ends_well() -> None:
    command = f"{sys.executable} -m hypemarl list >&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
