"""One small adapter per stage for ``tape step``.

A module here has ``HELP`` (the line format with examples) and ``run(lines, config)``, which yields the
output objects lazily: it takes a line, yields what that line gives, then takes the next.
"""
