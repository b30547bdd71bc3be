"""Where a minute of a symbol ended on its way to a trade: a stage's answer for ``tape why``."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import Recorded
from tapedeck.streams.misses import Judged, Miss


class Ended(NamedTuple):
    """A minute ended at ``place`` for ``reason``, which is text for a dead letter. ``miss``: how far it was
    from passing; ``detail``: any further explanation."""

    place: str
    reason: StrEnum | str
    miss: Miss | None = None
    detail: str = ""


class Blames(NamedTuple):
    """A joined record, or its absence, ended the minute: the stage that writes ``topic`` says why.
    ``otherwise``: the answer where that stage has none."""

    topic: str
    otherwise: Ended


OfMinute = Callable[[Judged, Config], Ended | Blames | None]
OfAccount = Callable[[Recorded, Config, str], Callable[[int], list[Ended]]]


@dataclass(frozen=True, kw_only=True)
class Trail:
    """A stage's part of a minute's path.

    ``topic``: the output with a record of each minute, or each evaluation. ``places``: the names of where a
    minute can end, usually those of outputs; the first one covers all other outputs. ``nothing``: the
    reason where there is no record although all its inputs are there. ``ended``: why the minute of the
    judged decision ended here, None if it did not. The stage that decides is asked first, then those that
    it blames. ``of_account``: for an account's stage, where each signal ended for the bar at t, from a
    recording and the account.
    """

    topic: str
    places: tuple[str, ...]
    nothing: StrEnum
    ended: OfMinute | None = None
    of_account: OfAccount | None = None
