"""Sessions of a tape through stages, dispatchers and paper exchange: what the rules would have earned."""
