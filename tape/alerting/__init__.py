"""Alarms: which notices are due, their delivery to the sinks, and the doctor that watches for ever."""
