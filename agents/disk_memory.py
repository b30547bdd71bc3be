"""The memory that RocksDB takes in one process.

Each partition of a table is a RocksDB of its own, and by itself each would have its own cache: a worker that
takes over the partitions of another one would grow by a cache for each. Here all of them share one of
``CACHE_BYTES``, which also has their indexes and filters. Besides, each partition holds what was written and
is not yet in a file: ``BUFFERS`` of ``WRITE_BUFFER_BYTES`` at most, then a write waits for the disk.

The buffers are not shared: RocksDB would let a busy table flush after each batch while idle ones keep theirs.
"""

from functools import cache
from typing import Any

import rocksdict
from faust.stores.rocksdb import RocksDBOptions

CACHE_BYTES = 32 * 1024 * 1024
WRITE_BUFFER_BYTES = 4 * 1024 * 1024
BUFFERS = 2
"""One that is being filled, and one that is on its way to a file."""


@cache
def of_process() -> rocksdict.Cache:
    """The cache that all tables of this process share."""
    return rocksdict.Cache(CACHE_BYTES)


class SharedOptions(RocksDBOptions):
    """Faust's options of a RocksDB, with ``shared`` instead of a cache of its own."""

    def __init__(self, shared: rocksdict.Cache) -> None:
        super().__init__(
            write_buffer_size=WRITE_BUFFER_BYTES, max_write_buffer_number=BUFFERS, use_rocksdict=True
        )
        self._shared = shared

    def as_options(self) -> Any:
        """The options, as rocksdict takes them."""
        found = super().as_options()
        blocks = rocksdict.BlockBasedOptions()
        blocks.set_bloom_filter(self.bloom_filter_size, block_based=True)
        blocks.set_index_type(rocksdict.BlockBasedIndexType.binary_search())
        blocks.set_block_cache(self._shared)
        blocks.set_cache_index_and_filter_blocks(True)
        found.set_block_based_table_factory(blocks)
        return found
