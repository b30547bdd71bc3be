"""toy_notes -> toy_moods: how good the notes of a symbol were on average."""

from enum import StrEnum

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Batch, Drop, Row, Step
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.base import WithoutPeriod, derived, pack_state, unpack_state

STATE_VERSION = 1


class MoodDrop(StrEnum):
    """Why a note changed nothing."""

    OLD_NOTE = "OLD_NOTE"


WORDS = {MoodDrop.OLD_NOTE: "a newer note was there already"}


class MoodsStage(WithoutPeriod):
    """State per symbol: how many notes, their sum, the newest note's time."""

    def __init__(self, config: Config, calendar: Calendar, account_id: str | None = None) -> None:
        self._digest = config.digest

    def key(self, row: Row) -> bytes:
        return row.key

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        known = unpack_state(STATE_VERSION, state) if state else {"n": 0, "sum": 0.0, "t": 0}
        outs, drops = [], []
        for cause, row in enumerate(batch):
            note = row.body
            if note["t"] <= known["t"]:
                drops.append(Drop(cause, MoodDrop.OLD_NOTE))
                continue
            known = {"n": known["n"] + 1, "sum": known["sum"] + note["good"], "t": note["t"]}
            body = {
                "event_time": note["event_time"],
                "symbol": note["symbol"],
                "t": note["t"],
                "n": known["n"],
                "mean": known["sum"] / known["n"],
            }
            outs.append(derived(cause, "toy_moods", body, self._digest, [note["event_id"]]))
        return Step(pack_state(STATE_VERSION, known), outs, drops)
