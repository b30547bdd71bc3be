"""The demonstration: one session through a fresh local stack, then the proof of what happened."""
