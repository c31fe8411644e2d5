"""Files that are read back, locks of folders, the cache folder: the one place for all of them.

All calls are local: nothing here knows of ranks, rank 0 writes.
"""

from hypemarl.files.cache import CACHE_REMEDY, cache_folder, check_writable
from hypemarl.files.digests import code_digest, facts_key, short_digest
from hypemarl.files.locking import FolderLock, LockedError, Owner, check_unlocked
from hypemarl.files.processes import is_running
from hypemarl.files.references import content_hash, opened_with
from hypemarl.files.writing import (
    DamagedError,
    WriteError,
    first_line,
    open_sealed,
    read_arrays,
    remove_leftovers,
    write_arrays,
    write_atomically,
    write_error,
    write_sealed,
    write_text,
)
from hypemarl.startup import may_write

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
    "code_digest",
    "content_hash",
    "facts_key",
    "first_line",
    "is_running",
    "may_write",
    "open_sealed",
    "opened_with",
    "read_arrays",
    "remove_leftovers",
    "short_digest",
    "write_arrays",
    "write_atomically",
    "write_error",
    "write_sealed",
    "write_text",
]
