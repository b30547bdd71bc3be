"""Where a simulated process may crash: before each kind of effect, and during recovery."""

from enum import StrEnum


class Point(StrEnum):
    """A place between two effects."""

    OUTPUT = "before an output"
    DEAD_LETTER = "before a dead letter"
    CHANGELOG = "before a changelog record"
    TABLE = "before a table write"
    ACK = "before an ack"
    DONE = "behind a whole batch"
    RECOVERY = "while it recovers its table"
    REWRITE = "before it writes a winner again"
    EFFECT = "before an effect of a dispatcher"


class Crash(Exception):
    """The simulated process dies here."""

    def __init__(self, point: Point) -> None:
        super().__init__(point)
        self.point = point


class Fuse:
    """Burns one step per effect and raises Crash when it has burned down; None never crashes.

    With ``point`` it burns only at effects of that kind.
    """

    def __init__(self, steps: int | None = None, point: Point | None = None) -> None:
        self.left, self._point = steps, point

    def burn(self, point: Point = Point.EFFECT) -> None:
        if self.left is not None and self._point in (None, point):
            if self.left == 0:
                self.left = None
                raise Crash(point)
            self.left -= 1
