"""Files that are read back, locks of folders, the cache folder: the one place for all of them.

All calls are local: nothing here knows of ranks, rank 0 writes.
"""

from hypemarl.files.cache import CACHE_REMEDY, cache_folder, check_writable, may_write
from hypemarl.files.locking import FolderLock, LockedError, Owner, check_unlocked
from hypemarl.files.processes import is_running
from hypemarl.files.writing import (
    DamagedError,
    WriteError,
    content_hash,
    open_sealed,
    read_arrays,
    remove_leftovers,
    write_arrays,
    write_atomically,
    write_error,
    write_sealed,
    write_text,
)

__all__ = [
    "CACHE_REMEDY",
    "DamagedError",
    "FolderLock",
    "LockedError",
    "Owner",
    "WriteError",
    "cache_folder",
    "check_unlocked",
    "check_writable",
    "content_hash",
    "is_running",
    "may_write",
    "open_sealed",
    "read_arrays",
    "remove_leftovers",
    "write_arrays",
    "write_atomically",
    "write_error",
    "write_sealed",
    "write_text",
]
