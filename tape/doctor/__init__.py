"""The doctor: what was read of a pipeline, the checks over it, and their findings. Pure: no I/O, no clock."""
