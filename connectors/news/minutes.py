"""Which minutes of a source that has no bars are over: by the clock alone."""

from tapedeck.connectors.tapes.marking import labels_between
from tapedeck.streams.protocol import MINUTE_US, SECOND_US

GRACE_S = 3.0
"""Seconds after a minute's end in which what was published in it may still come."""


class Minutes:
    """``last``: the label of the topic's last watermark, None if it has none. Labels only rise."""

    def __init__(self, last: int | None, *, grace_s: float = GRACE_S) -> None:
        self.last, self._grace_us = last, round(grace_s * SECOND_US)

    def due(self, now: int) -> list[int]:
        """The labels to write now, UTC micros; a long break, such as a night off, is one step.

        A new topic begins with the minute that has just ended.
        """
        over = (now - self._grace_us) // MINUTE_US * MINUTE_US - MINUTE_US
        if self.last is None:
            found = [over]
        elif over <= self.last:
            return []
        else:
            found = list(labels_between(self.last + MINUTE_US, over + MINUTE_US))
        self.last = over
        return found
