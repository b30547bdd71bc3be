"""Where a minute of a symbol ended on its way to a trade: what a stage says of that, for ``tape why``."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import Recorded
from tapedeck.streams.misses import Judged, Miss


class Ended(NamedTuple):
    """A minute ended at ``place`` for ``reason``, which is text where it is a dead letter's. ``miss``: how
    far it was from passing; ``detail``: what else is to be said."""

    place: str
    reason: StrEnum | str
    miss: Miss | None = None
    detail: str = ""


class Blames(NamedTuple):
    """What was joined ended the minute, or that it was not there: the stage that writes ``topic`` says why.
    ``otherwise``: the answer where that stage says nothing."""

    topic: str
    otherwise: Ended


OfMinute = Callable[[Judged, Config], Ended | Blames | None]
OfAccount = Callable[[Recorded, Config, str], Callable[[int], list[Ended]]]


@dataclass(frozen=True, kw_only=True)
class Trail:
    """A stage's part of a minute's way.

    ``topic``: the output with a record of each minute, or each evaluation. ``places``: the names of where a
    minute can end, those of outputs as a rule; the first one stands for all other outputs. ``nothing``: the
    reason where there is no record and all that it is made from is there. ``ended``: why the minute of the
    judged decision ended here, None where it did not; asked of the stage that decides, then of those that it
    blames. ``of_account``: of an account's stage, from a recording and the account where each signal
    ended about the bar at t.
    """

    topic: str
    places: tuple[str, ...]
    nothing: StrEnum
    ended: OfMinute | None = None
    of_account: OfAccount | None = None
