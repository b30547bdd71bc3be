"""The pure core, without I/O: the topology, the shell of a stage, merging, state, watermarks, digests."""
