"""Files that are read back: whole, synced and checksummed.

A file is written beside its place under a temporary name, synced, and renamed, so that readers see
the old one or the new one, and a killed writer leaves nothing half written. A *sealed* file is a
zip archive (what numpy and torch write) whose comment is the SHA-256 of all bytes before it: a copy
carries its checksum along, and other programs open it as usual.
"""

import errno
import glob
import hashlib
import itertools
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from hypemarl.types import Record

SEAL = b"hypemarl-sha256:"
_DIGEST = 64  # hexadecimal digits
_ZIP_END = 22  # bytes of a zip's end record, the last two of which are the length of the comment
_MARK = "sealed"  # member of our archives: they are damaged where the comment is not there
_CHUNK = 1 << 20
_DAY = 86400.0
_SLACK = 2.0  # seconds to which clocks of a file system and of processes agree
_COUNTER = itertools.count()
_TEMPORARY = re.compile(r"^\.(?P<name>.+)\.(?P<pid>\d+)(?:-\d+@(?P<host>.+))?\.tmp$")
_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EROFS: "make the folder writable, or name another",
    errno.EACCES: "make the folder writable, or name another",
    errno.EPERM: "make the folder writable, or name another",
    errno.ENOENT: "the folder was removed meanwhile: make it again",
}


class DamagedError(RuntimeError):
    """A file is not what was written."""


class WriteError(OSError):
    """A file could not be written; the message names it, the reason, the space and a remedy."""


def write_error(path: Path, error: OSError) -> WriteError:
    """The sentence for a write to ``path`` that failed."""
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**20
    kept = "; the previous file is intact" if path.exists() else ""
    advice = _ADVICE.get(error.errno or 0, "see to it that the folder can be written")
    return WriteError(
        f"{path}: not written: {error.strerror or error} ({free:.1f} MiB of space free there)"
        f"{kept}; {advice}"
    )


class _Watched:
    """A stream that remembers its first error, which torch replaces by another."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.stream.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, sync it, and put it in place.

    The folder is made if need be, and temporary files of killed writers of ``path`` are removed.
    The target of a link is replaced; a device or a pipe is written into. The mode of an existing
    file is kept.

    Raises:
        WriteError: the file system refused; the previous file is still at ``path``.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not path.is_file():  # a device or a pipe, with no other content to keep
        try:
            with path.open("wb") as stream:
                write(stream)
        except OSError as error:
            raise write_error(path, error) from error
        return
    name = f".{path.name}.{os.getpid()}-{next(_COUNTER)}@{socket.gethostname()}.tmp"
    temporary, watched = path.with_name(name), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        with temporary.open("w+b") as stream:
            watched = _Watched(stream)
            write(watched)  # type: ignore[arg-type]
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except Exception as error:
        refused = error if isinstance(error, OSError) else getattr(watched, "error", None)
        if refused is None:
            raise
        raise write_error(path, refused) from error
    finally:
        with suppress(OSError):  # of a folder that is gone or read-only, said above
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a new name in ``folder`` last. Some network file systems sync no folders."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) whole or not at all. Raises :class:`WriteError`."""
    write_atomically(path, lambda stream: stream.write(text.encode()))


def write_sealed(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """As :func:`write_atomically`, for a zip archive, which gets its checksum as its comment.

    Raises:
        ValueError: ``write`` wrote something else than a zip archive without a comment.
        WriteError: see :func:`write_atomically`.
    """

    def seal(stream: IO[bytes]) -> None:
        write(stream)
        stream.seek(-_ZIP_END, os.SEEK_END)
        end = stream.read(_ZIP_END)
        if not (end.startswith(b"PK\x05\x06") and end.endswith(b"\0\0")):
            raise ValueError(f"{path}: only zip archives without a comment can be sealed")
        stream.seek(-2, os.SEEK_END)
        stream.write((len(SEAL) + _DIGEST).to_bytes(2, "little") + SEAL)
        size = stream.tell()
        digest = _sha256(stream, size)
        stream.seek(size)
        stream.write(digest.encode())

    write_atomically(path, seal)


@contextmanager
def open_sealed(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """A file opened for reading, and whether it has a checksum (which is then right).

    Raises:
        DamagedError: the checksum is not that of the content; OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        tail = len(SEAL) + _DIGEST
        stream.seek(max(0, size - tail))
        seal = stream.read(tail)
        sealed = len(seal) == tail and seal.startswith(SEAL)
        if sealed and seal[len(SEAL) :] != _sha256(stream, size - _DIGEST).encode():
            raise DamagedError(
                f"{path}: damaged or changed since it was written: its checksum is another"
            )
        stream.seek(0)
        yield stream, sealed


def _sha256(stream: IO[bytes], size: int) -> str:
    """SHA-256 of the first ``size`` bytes."""
    stream.seek(0)
    digest = hashlib.sha256()
    while size > 0 and (chunk := stream.read(min(size, _CHUNK))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()


def write_arrays(path: Path, arrays: Record, *, compress: bool = False) -> None:
    """Write named arrays as a sealed ``.npz``. Raises :class:`WriteError`."""
    save: Callable[..., None] = np.savez_compressed if compress else np.savez
    write_sealed(path, lambda stream: save(stream, **arrays, **{_MARK: np.array(1)}))


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays of an ``.npz``, and whether a checksum vouches for them (not in old files).

    Raises:
        DamagedError: it is no such file, or not what was written; OSError: it cannot be read.
    """
    with open_sealed(path) as (stream, sealed):
        try:
            with np.load(stream, allow_pickle=False) as stored:
                arrays = {str(name): np.asarray(stored[name]) for name in stored.files}
        except Exception as error:  # a damaged archive raises anything
            raise DamagedError(
                f"{path}: does not load as named arrays ({first_line(error)})"
            ) from error
    if arrays.pop(_MARK, None) is not None and not sealed:
        raise DamagedError(f"{path}: damaged: its checksum is missing")
    return arrays, sealed


def first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 200 characters; its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file. Raises OSError where it cannot be read."""
    with path.open("rb") as stream:
        return _sha256(stream, path.stat().st_size)


def remove_leftovers(folder: Path, name: str = "") -> list[Path]:
    """Remove temporary files of killed processes from ``folder``; returns those removed.

    With ``name`` only those of the file of that name. Those of other machines are removed when
    they are a day old. Those that may not be removed stay.
    """
    removed = []
    for file in folder.glob(f".{glob.escape(name)}*.tmp"):
        parts = _TEMPORARY.match(file.name)
        if parts is None or name not in ("", parts["name"]):
            continue
        with suppress(OSError):  # put in place or removed meanwhile, or another user's
            written = file.stat().st_mtime
            if parts["host"] in (None, socket.gethostname()):
                in_use = is_running(int(parts["pid"]), written)
            else:
                in_use = time.time() - written < _DAY
            if not in_use:
                file.unlink()
                removed.append(file)
    return removed


def is_running(pid: int, at: float) -> bool:
    """Whether a process of this machine that existed at time ``at`` (epoch) still runs."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return _began(pid) <= at + _SLACK


def _began(pid: int) -> float:
    """When a process began (epoch); infinity where it has ended, 0 where the system hides it."""
    if not Path("/proc/self/stat").exists():
        return 0.0
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return float("inf")
    fields = status.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return float("inf")
    since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot
