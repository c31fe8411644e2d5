"""Files that are read back, locks of folders, the cache folder: the one place for all of them.

All calls are local: nothing here knows of ranks, rank 0 writes.
"""

from hypemarl.files.cache import (
    CACHE_REMEDY,
    cache_folder,
    check_writable,
    code_digest,
    facts_key,
    short_digest,
)
from hypemarl.files.locking import FolderLock, LockedError, check_unlocked
from hypemarl.files.references import content_hash, opened_with
from hypemarl.files.writing import (
    DamagedError,
    WriteError,
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
