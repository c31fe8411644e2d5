"""One writer of a folder at a time."""

import errno
import fcntl
import json
import os
import socket
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hypemarl.files.writing import is_running, write_error

LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class LockedError(RuntimeError):
    """Another process writes the folder."""


@dataclass(frozen=True)
class Owner:
    """The process that holds a folder, and since when (epoch)."""

    pid: int
    host: str
    since: float
    command: str

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        age = max(0.0, time.time() - self.since)
        spell = f"{age:.0f} s" if age < 120 else f"{age / 60:.0f} min"
        return f"process {self.pid} on {self.host} since {when} ({spell}; {self.command})"


class FolderLock:
    """One writer of a folder at a time, among processes and, where the file system does, hosts.

    The lock is the kernel's (``flock``), so that one of a dead process is free at once, after a
    reboot too; the file says who holds it. On file systems without such locks what the file says
    decides: a process of this machine is looked for, one of another blocks until the file is gone.

    Attributes:
        note: warning about a previous holder that did not let go, or None.

    Raises:
        LockedError: the folder is held; OSError: the lock's file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self.note = folder / LOCK, None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._handle = self._acquire()
            before = _owner(self._handle)
            if before is not None and before.host != socket.gethostname():
                self.note = f"{folder} was not released by {before}; should it still run, stop one"
            command = " ".join(["hypemarl", *sys.argv[1:]])[:120]
            owner = Owner(os.getpid(), socket.gethostname(), time.time(), command)
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, json.dumps(asdict(owner)).encode(), 0)
        except OSError as error:
            raise write_error(self.path, error) from error

    def _acquire(self) -> int:
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                if not _flock(handle):
                    _refuse_living(self.path, _owner(handle))
                if os.path.exists(self.path) and os.path.samestat(
                    os.fstat(handle), os.stat(self.path)
                ):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # its holder let go and removed it meanwhile

    def release(self) -> None:
        """Let go: remove the file, free the lock."""
        with suppress(OSError):  # the folder is gone, or read-only by now
            if os.path.samestat(os.fstat(self._handle), os.stat(self.path)):
                self.path.unlink()
        os.close(self._handle)


def _flock(handle: int) -> bool:
    """Take the kernel's lock; False where the file system has none. Raises LockedError."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(f"it is held by {_owner(handle) or 'another process'}") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _refuse_living(path: Path, owner: Owner | None) -> None:
    if owner is None:
        return
    if owner.host != socket.gethostname():
        raise LockedError(
            f"it is held by {owner}, and this file system cannot tell whether that still runs; if "
            f"it has ended, remove {path}"
        )
    if is_running(owner.pid, owner.since):
        raise LockedError(f"it is held by {owner}")


def _owner(handle: int) -> Owner | None:
    try:
        return Owner(**json.loads(os.pread(handle, 4096, 0)))
    except (ValueError, TypeError):  # not written yet, or cut by a full disk
        return None


def check_unlocked(folder: Path) -> None:
    """Raise :class:`LockedError` where another process holds the folder; changes nothing."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR)
    except OSError:  # nobody has locked it
        return
    try:
        if not _flock(handle):
            _refuse_living(folder / LOCK, _owner(handle))
    finally:
        os.close(handle)
