"""``tape sim``: the whole path of a tape in memory, and seeded schedules of faults over a short one."""
