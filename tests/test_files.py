"""Writes that are whole, checksums that notice, locks that a dead holder does not keep."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from holder import held_by_another

from hypemarl import files
from hypemarl.files import DamagedError, FolderLock, LockedError, WriteError, locking

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "name": np.array("mine")}


def full(stream: Any) -> None:
    stream.write(b"some")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def dead_process() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_a_refused_write_names_file_space_and_what_is_left(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "numbers.txt"
    files.write_text(file, "old\n")
    with pytest.raises(WriteError, match=r"numbers\.txt: not written: No space.*MiB of space") as e:
        files.write_atomically(file, full)
    assert "the previous file is intact; free some space" in str(e.value)
    assert file.read_text() == "old\n"
    assert list(file.parent.iterdir()) == [file]
    files.write_text(file, "new\n")
    assert file.read_text() == "new\n"


def test_the_reason_of_a_failed_write_is_told_though_the_writer_hides_it(tmp_path: Path) -> None:
    def hiding(stream: Any) -> None:
        class Full:
            def write(self, data: bytes) -> int:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        stream.stream = Full()
        try:
            stream.write(b"x")
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc:671]") from None

    with pytest.raises(WriteError, match="No space left") as refused:
        files.write_atomically(tmp_path / "a", hiding)
    assert "enforce" not in str(refused.value)


def test_other_errors_of_a_writer_pass_as_they_are(tmp_path: Path) -> None:
    def failing(stream: Any) -> None:
        raise RuntimeError("own")

    with pytest.raises(RuntimeError, match="own"):
        files.write_atomically(tmp_path / "a", failing)
    assert list(tmp_path.iterdir()) == []


def test_sealed_arrays_are_read_back_also_from_a_copy_and_by_numpy(tmp_path: Path) -> None:
    file, copy = tmp_path / "a.npz", tmp_path / "copy.npz"
    for compress in (False, True):
        files.write_arrays(file, ARRAYS, compress=compress)
        copy.write_bytes(file.read_bytes())
        arrays, sealed = files.read_arrays(copy)
        assert sealed
        assert arrays.keys() == ARRAYS.keys()
        assert np.array_equal(arrays["a"], ARRAYS["a"])
        with np.load(copy) as plain:
            assert str(plain["name"]) == "mine"


def test_flipped_bits_and_cuts_are_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    files.write_arrays(file, ARRAYS)
    content = file.read_bytes()
    for place in [*range(0, len(content) - 90, 7), *range(len(content) - 90, len(content))]:
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        file.write_bytes(changed)
        with pytest.raises(DamagedError, match=r"a\.npz: d"):
            files.read_arrays(file)
    for size in range(0, len(content), 37):
        file.write_bytes(content[:size])
        with pytest.raises(DamagedError):
            files.read_arrays(file)
    file.write_bytes(content)
    assert files.read_arrays(file)[1]


def test_arrays_from_before_checksums_load_and_are_told_apart(tmp_path: Path) -> None:
    np.savez(tmp_path / "old.npz", **ARRAYS)  # type: ignore[arg-type]
    arrays, sealed = files.read_arrays(tmp_path / "old.npz")
    assert not sealed
    assert np.array_equal(arrays["a"], ARRAYS["a"])


def test_only_zip_archives_are_sealed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only zip archives"):
        files.write_sealed(tmp_path / "a", lambda stream: stream.write(b"x" * 40))


def test_leftovers_of_dead_processes_go_and_those_of_living_stay(tmp_path: Path) -> None:
    dead, host = dead_process(), socket.gethostname()
    old = tmp_path / ".far.pt.7-0@elsewhere.tmp"
    gone = [f".last.pt.{dead}.tmp", f".last.pt.{dead}-3@{host}.tmp", old.name]
    kept = [
        f".last.pt.{os.getpid()}-0@{host}.tmp",
        ".new.pt.7-0@elsewhere.tmp",
        ".mine.tmp",
        "b.pt",
    ]
    for name in gone + kept:
        (tmp_path / name).write_bytes(b"x")
    os.utime(old, (time.time() - 1e5,) * 2)
    reused = tmp_path / f".last.pt.{os.getpid()}-1@{host}.tmp"  # of an earlier process
    reused.write_bytes(b"x")
    os.utime(reused, (time.time() - 1e6,) * 2)
    removed = files.remove_leftovers(tmp_path)
    assert {file.name for file in removed} == {*gone, reused.name}
    assert {file.name for file in tmp_path.iterdir()} == set(kept)


def test_a_living_holder_is_named_and_a_killed_one_does_not_block(tmp_path: Path) -> None:
    child = held_by_another(tmp_path)
    try:
        for attempt in (FolderLock, files.check_unlocked):
            with pytest.raises(LockedError, match=f"process {child.pid} on {socket.gethostname()}"):
                attempt(tmp_path)
    finally:
        child.kill()
        child.wait()
    assert (tmp_path / locking.LOCK).exists()  # what a killed process leaves
    files.check_unlocked(tmp_path)
    lock = FolderLock(tmp_path)
    assert lock.note is None
    with pytest.raises(LockedError, match=f"process {os.getpid()} "):
        FolderLock(tmp_path)
    lock.release()
    assert list(tmp_path.iterdir()) == []
    FolderLock(tmp_path).release()


def owner(**changes: Any) -> str:
    here = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time(), "command": "h"}
    return json.dumps(here | changes)


def test_a_holder_of_another_machine_that_is_gone_is_told_of(tmp_path: Path) -> None:
    (tmp_path / locking.LOCK).write_text(owner(host="elsewhere"))
    lock = FolderLock(tmp_path)
    assert "was not released by process" in str(lock.note)
    lock.release()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"held by process \d+"),
        ({"host": "elsewhere"}, r"cannot tell whether that still runs; .*remove .*\.lock"),
        ({"since": 1000.0}, None),  # the process number came again, or the machine did
        ({"pid": 2**30}, None),
    ],
)
def test_without_locks_of_the_file_system_what_the_file_says_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str | None
) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locking.fcntl, "flock", flock)
    (tmp_path / locking.LOCK).write_text(owner(**changes))
    if message is None:
        files.check_unlocked(tmp_path)
        FolderLock(tmp_path).release()
        return
    for attempt in (FolderLock, files.check_unlocked):
        with pytest.raises(LockedError, match=message):
            attempt(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused_with_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot be written .*set HYPEMARL_CACHE"):
        files.check_writable(tmp_path / "file" / "cache", files.CACHE_REMEDY)
    with pytest.raises(WriteError, match=r"\.lock: not written"):
        FolderLock(tmp_path / "file" / "run")
    files.check_writable(tmp_path / "new" / "cache", files.CACHE_REMEDY)
    assert list((tmp_path / "new" / "cache").iterdir()) == []


def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    monkeypatch.setenv("HYPEMARL_CACHE", str(tmp_path / "here"))
    assert files.cache_folder(said.append) == tmp_path / "here"
    monkeypatch.delenv("HYPEMARL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert files.cache_folder(said.append) == tmp_path / "xdg" / "hypemarl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.cache_folder(said.append) == tmp_path / ".cache" / "hypemarl"
    assert said == []
    (tmp_path / "nowhere").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))  # no folder: nothing can be made in it
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    temporary = tmp_path / f"hypemarl-cache-{os.getuid()}"
    assert files.cache_folder(said.append) == temporary / "hypemarl"
    assert "set HYPEMARL_CACHE" in said[0]
    temporary.rename(tmp_path / "of another user")
    temporary.symlink_to(tmp_path / "of another user")  # nothing computed is taken from there
    with pytest.raises(WriteError, match="cannot be used as cache: set HYPEMARL_CACHE"):
        files.cache_folder(said.append)


XDMF = '<Xdmf><DataItem Format="{}">{}</DataItem></Xdmf>'


@pytest.mark.parametrize(
    ("name", "text", "beside"),
    [
        ("m.xdmf", XDMF.format("HDF", "n.h5:/data0"), ["n.h5"]),
        ("m.xdmf", XDMF.format("HDF", "n.hdf5:/data0"), ["n.hdf5"]),
        ("m.xmf", XDMF.format("Binary", " n.raw "), ["n.raw"]),
        ("m.inp", "*Node\n*Include, Input=a b.inp\n", ["a b.inp"]),
        ("m.inp", "INCLUDE,INPUT=n.inp\n", ["n.inp"]),
        ("m.node", "", ["m.ele"]),
        ("m.xml", "<dolfin/>", ["m_tags.xml"]),
    ],
)
def test_the_hash_of_a_mesh_covers_all_files_that_are_opened_with_it(
    name: str, text: str, beside: list[str], tmp_path: Path
) -> None:
    file, other = tmp_path / name, tmp_path / "unrelated.h5"
    file.write_text(text)
    for part in [*(tmp_path / part for part in beside), other]:
        part.write_bytes(b"1")
    first = files.content_hash(file)
    assert files.opened_with(file) == [file, *(tmp_path / part for part in beside)]
    other.write_bytes(b"2")
    assert files.content_hash(file) == first
    for part in beside:
        (tmp_path / part).write_bytes(b"2")
        assert files.content_hash(file) != first


def test_included_files_of_included_files_count(tmp_path: Path) -> None:
    for name, text in {"m": "** INCLUDE, INPUT=x.inp\n*INCLUDE, INPUT=a.inp\n", "b": "1"}.items():
        (tmp_path / f"{name}.inp").write_text(text)
    (tmp_path / "a.inp").write_text("*INCLUDE, INPUT=b.inp\n")
    first = files.content_hash(tmp_path / "m.inp")
    (tmp_path / "b.inp").write_text("2")
    assert files.content_hash(tmp_path / "m.inp") != first
    (tmp_path / "b.inp").unlink()
    with pytest.raises(ValueError, match=r"'b\.inp', which is not beside it"):
        files.content_hash(tmp_path / "m.inp")


def test_every_write_removes_what_killed_writers_of_that_file_left(tmp_path: Path) -> None:
    dead, host = dead_process(), socket.gethostname()
    other = tmp_path / f".b.json.{dead}-0@{host}.tmp"
    alive = tmp_path / f".a.json.{os.getpid()}-999@{host}.tmp"
    for file in (tmp_path / f".a.json.{dead}-0@{host}.tmp", other, alive):
        file.write_bytes(b"x")
    files.write_text(tmp_path / "a.json", "{}")
    assert set(tmp_path.iterdir()) == {tmp_path / "a.json", other, alive}


def test_a_link_stays_and_its_target_is_replaced_with_its_mode(tmp_path: Path) -> None:
    target, link = tmp_path / "real.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    files.write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_pipe_is_written_into_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        files.write_text(pipe, "words")
        assert reader.communicate(timeout=20)[0] == "words"
    assert pipe.is_fifo()
