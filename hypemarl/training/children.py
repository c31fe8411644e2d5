"""Child processes that end with this one, in whatever way it ends.

A child leads a process group of its own, so that Ctrl-C in a terminal reaches this process alone,
and each child exactly once: passed on as SIGTERM. A child that is a ``hypemarl`` command holds an
end of a pipe whose other end only this process has. The kernel closes that one even after a
SIGKILL; the child then takes it for a SIGTERM. Imports nothing heavy: every command begins here.

Signals that ask for an end (Ctrl-C, SIGTERM, SIGHUP) let training finish what can be resumed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import hypemarl
from hypemarl.types import Row

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def handled_stops(handler: Handler) -> Iterator[None]:
    """Let ``handler`` take Ctrl-C, SIGTERM and SIGHUP inside the block. Local.

    A hang-up that is ignored, as under nohup, stays so. Outside the main thread, where no signal
    arrives, nothing changes.
    """
    old: dict[int, signal._HANDLER] = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        old = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)


def tell(text: str) -> None:
    """Write a line to stderr from a signal handler, which may have interrupted a print. Local."""
    with suppress(OSError):  # the terminal that hung up is gone
        os.write(2, f"\n{text}\n".encode())


@contextmanager
def deferred_interrupt(speaks: bool) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a flag; a second one interrupts. Local.

    Yields a function that returns True after a stop was requested. Outside the main thread, where
    no signal arrives, it always returns False.
    """
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        if speaks:
            tell("finishing the episode, then saving (again: stop at once)")

    with handled_stops(ask):
        yield lambda: asked


PIPE = "HYPEMARL_PARENT_PIPE"  # the file descriptor of a child's end
# A launcher's variables would make every child join the launcher's world.
_LAUNCHER = ("PMI_", "PMIX_", "OMPI_", "MPI_LOCAL", "HYDI_", "HYDRA_")
THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Exit statuses of ``hypemarl`` that its parent tells apart.
EXIT_VAIN = 3  # every episode failed
EXIT_INTERRUPTED = 130


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables of an MPI launcher. Local."""
    return {name: value for name, value in environment.items() if not name.startswith(_LAUNCHER)}


def python_module(module: str) -> list[str]:
    """The command that starts a module of this package as this process found it. Local.

    ``python -m`` looks into the working folder first, where a file may have the name of a package
    that the child imports; ``-P`` leaves that folder out. Only where hypemarl itself lies there, as
    in a checkout that is not installed, would the child not be found without it.
    """
    here = Path(hypemarl.__file__).resolve().parents[1] == Path.cwd().resolve()
    return [sys.executable, *([] if here else ["-P"]), "-m", module]


class Children:
    """Processes that stop when this one is asked to. A context manager, local.

    Inside the block Ctrl-C, SIGTERM and SIGHUP do not interrupt: they are counted in ``asked`` and
    passed on. The first lets children finish what they would lose, the second stops them at once,
    the third kills them. Ctrl-Z pauses them too. At the end of the block, also after an error, the
    children that are left are asked to stop and waited for.
    """

    def __init__(self) -> None:
        self.asked = 0  # times that a user or a scheduler asked for an end
        self._running: list[subprocess.Popen] = []
        self._stack = ExitStack()

    def __enter__(self) -> Children:
        self._read_end, self._write_end = os.pipe()
        self._stack.callback(os.close, self._write_end)
        self._stack.callback(os.close, self._read_end)
        self._stack.enter_context(handled_stops(self._pass_on))
        if threading.current_thread() is threading.main_thread():
            pausing = signal.signal(signal.SIGTSTP, self._pause)
            self._stack.callback(signal.signal, signal.SIGTSTP, pausing)
        self._stack.callback(self._end_all)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen:
        """Start a process with one thread, outside the launcher's world and without a terminal.

        Args:
            command: program and arguments; ``hypemarl`` commands notice when this process dies.
            options: of :class:`subprocess.Popen`.

        Raises OSError: the program cannot be started. KeyboardInterrupt: a stop was asked for
        before.
        """
        if self.asked:
            raise KeyboardInterrupt
        limits = dict.fromkeys(THREAD_LIMITS, "1")
        process = subprocess.Popen(
            command,
            env=without_launcher(os.environ) | limits | {PIPE: str(self._read_end)},
            stdin=subprocess.DEVNULL,
            process_group=0,
            pass_fds=(self._read_end,),
            **options,
        )
        self._running.append(process)
        if self.asked:  # while it was started
            process.terminate()
        return process

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.asked += 1
        if self.asked == 1:
            tell("waiting until what runs is saved (again: stop at once, a third time: kill)")
        for process in self._alive():
            if self.asked <= 2:
                process.terminate()
            else:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _pause(self, number: int, frame: FrameType | None) -> None:
        for process in self._alive():
            process.send_signal(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)  # returns when this process is continued
        for process in self._alive():
            process.send_signal(signal.SIGCONT)

    def _alive(self) -> list[subprocess.Popen]:
        return [process for process in self._running if process.poll() is None]

    def _end_all(self) -> None:
        running = self._alive()
        if not self.asked:
            for process in running:
                process.terminate()
        for process in running:
            process.wait()


def follow_parent() -> None:
    """Send this process a SIGTERM when the one that started it by :class:`Children` ends. Local.

    Does nothing in other processes.
    """
    inherited = os.environ.pop(PIPE, None)
    if inherited is None:
        return
    end = int(inherited)
    os.set_inheritable(end, False)

    def wait() -> None:
        os.read(end, 1)  # nothing is ever written: returns when the other end is closed
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="follow-parent", daemon=True).start()


def reason_of(status: int, log: str) -> str:
    """Why a ``hypemarl`` command with this exit ``status`` and output ended, in a line."""
    if status < 0:
        name = signal.Signals(-status).name
        hint = "; was memory short?" if -status == signal.SIGKILL else ""
        return f"ended by {name}{hint}"
    lines = [line for line in log.splitlines() if line.strip()]
    reported = [line for line in lines if line.startswith("hypemarl: ")]
    if reported:
        return reported[-1].removeprefix("hypemarl: ").removeprefix("error: ")
    return " | ".join(lines[-3:]) or f"exit status {status} and no output"


LIMIT_SECONDS = 300.0


def launch(ranks: int, module: str, *arguments: str) -> Row:
    """Run ``module`` on ``ranks`` ranks, one thread each; the JSON object of its last line.

    Raises RuntimeError: there is no mpirun, or the launch fails or takes longer than LIMIT_SECONDS.
    """
    command = [_launcher(), "-n", str(ranks), *python_module(module), *arguments]
    with Children() as children:
        launcher = children.start(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            out, err = launcher.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"{' '.join(command)}: no end in {LIMIT_SECONDS:g} s") from error
    if children.asked:
        raise KeyboardInterrupt
    if launcher.returncode:
        last = (err or out).strip().splitlines()[-4:]
        raise RuntimeError(f"{' '.join(command)} failed: {' | '.join(last)}")
    answer: Row = json.loads(out.splitlines()[-1])
    return answer


def _launcher() -> str:
    local = Path(sys.executable).parent / "mpirun"
    launcher = str(local) if local.exists() else shutil.which("mpirun")
    if launcher is None:
        raise RuntimeError("this needs an mpirun beside this Python or on the PATH")
    return launcher
