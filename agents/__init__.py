"""The live driver: a process per stage on Faust and RocksDB, and one per account."""
