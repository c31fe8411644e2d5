"""Signals to a process and to those it started: each arrives once, and nobody is left behind."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import hypemarl
from hypemarl.training.children import Children, deferred_interrupt, python_module, reason_of

FAMILY = Path(__file__).parent / "family.py"
LONG, LIMIT = 60.0, 30.0


def wait_for(what: Callable[[], bool], limit: float = LIMIT) -> None:
    end = time.monotonic() + limit
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie whose parent is gone has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_children_import_nothing_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "RAN"
    for name in ("yaml", "numpy", "hypemarl"):
        (tmp_path / f"{name}.py").write_text(f"open({str(ran)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    command = [*python_module("hypemarl"), "list", "--keys"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "training.episodes" in out
    assert not ran.exists()


def test_children_of_a_checkout_that_is_not_installed_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hypemarl").mkdir()
    monkeypatch.setattr(hypemarl, "__file__", str(tmp_path / "hypemarl" / "__init__.py"))
    (tmp_path / "hypemarl" / "__init__.py").write_text("")
    (tmp_path / "hypemarl" / "__main__.py").write_text("print('of the checkout')\n")
    monkeypatch.chdir(tmp_path)
    out = subprocess.run(python_module("hypemarl"), capture_output=True, text=True, check=True)
    assert out.stdout == "of the checkout\n"


class Family:
    """A parent with a child, which has begun."""

    def __init__(self, folder: Path, seconds: float = LONG, **options: object) -> None:
        self.folder = folder
        command = [sys.executable, str(FAMILY), "parent", str(folder), str(seconds)]
        self.parent = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            **options,
        )
        pid = folder / "child.pid"
        wait_for(lambda: pid.exists() and pid.read_text().endswith("\n"))
        self.child = int(pid.read_text())

    def end(self) -> str:
        _, err = self.parent.communicate(timeout=LIMIT)
        return err.strip().splitlines()[-1] if err.strip() else ""

    @property
    def heard(self) -> list[str]:
        log = self.folder / "child.log"
        return log.read_text().split() if log.exists() else []

    @property
    def saved(self) -> bool:
        return (self.folder / "child.end").exists()


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    members = Family(tmp_path)
    yield members
    members.parent.kill()
    members.parent.communicate()
    if not gone(members.child):
        os.kill(members.child, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_reaches_the_child_once_and_is_waited_for(
    family: Family, number: signal.Signals
) -> None:
    family.parent.send_signal(number)
    assert family.end() == "asked 1, child 0"
    assert family.heard == ["SIGTERM"]
    assert family.saved
    assert gone(family.child)


def test_a_child_whose_parent_is_killed_saves_and_ends(family: Family) -> None:
    family.parent.kill()
    wait_for(lambda: gone(family.child))
    assert family.heard == ["SIGTERM"]
    assert family.saved


def test_a_child_that_nobody_stops_comes_to_its_own_end(tmp_path: Path) -> None:
    family = Family(tmp_path, seconds=0.1)
    assert family.end() == "asked 0, child 0"
    assert family.heard == []
    assert family.saved


def test_a_second_stop_is_passed_on_and_a_third_kills(family: Family) -> None:
    os.kill(family.child, signal.SIGSTOP)  # it cannot answer
    for asked in (1, 2, 3):
        family.parent.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert gone(family.child) == (asked == 3)
    assert family.end() == "asked 3, child -9"


def test_ctrl_c_in_a_terminal_arrives_once(tmp_path: Path) -> None:
    """The terminal interrupts its whole foreground group, to which the child does not belong."""
    keyboard, terminal = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    family = Family(tmp_path, start_new_session=True, stdin=terminal, preexec_fn=take_terminal)
    os.write(keyboard, b"\x03")
    assert family.end() == "asked 1, child 0"
    assert family.heard == ["SIGTERM"]
    os.close(terminal)
    os.close(keyboard)


def test_ctrl_z_pauses_the_child_too(family: Family) -> None:
    def state(pid: int) -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    family.parent.send_signal(signal.SIGTSTP)
    wait_for(lambda: state(family.parent.pid) == state(family.child) == "T")
    family.parent.send_signal(signal.SIGCONT)
    wait_for(lambda: state(family.child) == "S")
    family.parent.terminate()
    assert family.end() == "asked 1, child 0"


def test_children_end_where_their_parent_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no space"), Children() as children:  # noqa: PT012
        command = [sys.executable, str(FAMILY), "child", str(tmp_path), str(LONG)]
        process = children.start(command)
        wait_for((tmp_path / "child.pid").exists)
        raise RuntimeError("no space")
    assert process.returncode == 0
    assert (tmp_path / "child.end").exists()


def test_handlers_return_and_an_ignored_hang_up_stays_ignored() -> None:
    """As under nohup."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP)
    before = [signal.getsignal(number) for number in numbers]
    with Children():
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Children() as children, deferred_interrupt(False) as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)
            assert (children.asked, interrupted()) == (0, False)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup themselves
        with deferred_interrupt(False) as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interrupted()
    finally:
        signal.signal(signal.SIGHUP, before[2])


@pytest.mark.parametrize(
    ("status", "log", "expected"),
    [
        (2, "noise\nhypemarl: error: disk full\n", "disk full"),
        (130, "\nfinishing\nhypemarl: interrupted\n", "interrupted"),
        (-9, "noise", "ended by SIGKILL; was memory short?"),
        (-15, "", "ended by SIGTERM"),
        (1, "Traceback\n  File x\n\nKeyError: 'a'\n", "Traceback |   File x | KeyError: 'a'"),
        (1, "", "exit status 1 and no output"),
    ],
)
def test_the_reason_of_an_end(status: int, log: str, expected: str) -> None:
    assert reason_of(status, log) == expected
