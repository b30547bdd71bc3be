"""Naming a tape: a file, a recorded window, or the synthetic market and its seed, as processes pass it on."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tapedeck.connectors.recorded.format import is_recorded, load
from tapedeck.connectors.recorded.playable import playable
from tapedeck.connectors.tapes.files import DEFAULT_FEED, read_tape
from tapedeck.connectors.tapes.generator import DEFAULT_SEED, DEFAULT_SESSION, generate
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import xnys

_SYNTHETIC = "synthetic"


@dataclass(frozen=True, kw_only=True)
class TapeSource:
    """``tape`` is a file, the folder of a recorded tape, ``synthetic`` or ``synthetic:SEED``.

    ``session`` None takes the file's newest; a recorded tape has one of its own.
    """

    tape: str = _SYNTHETIC
    session: date | None = None
    quotes: Path | None = None
    feed: str = DEFAULT_FEED

    def load(self) -> Tape:
        """Read or generate it: always the same tape. Raises Fatal as those do."""
        if self.seed is not None:
            return generate(self.seed, session=self.session or DEFAULT_SESSION, feed=self.feed)
        path = Path(self.tape)
        if is_recorded(path):
            if self.session is not None or self.quotes is not None:
                remedy = "leave --session and --quotes out"
                raise Fatal("a recorded tape has its session and its quotes", value=self.tape, remedy=remedy)
            return playable(load(path), xnys())
        return read_tape(path, quotes=self.quotes, session=self.session, feed=self.feed)

    @property
    def seed(self) -> int | None:
        """The seed of a synthetic tape; None for a file. Raises Fatal for one that is not a number."""
        kind, _, seed = self.tape.partition(":")
        if kind != _SYNTHETIC:
            return None
        if not (seed or "0").isdigit():
            raise Fatal("a seed is a whole number, 0 or more", value=seed, remedy="write synthetic:7")
        return int(seed) if seed else DEFAULT_SEED


def session_date(text: str | None) -> date | None:
    """A date from ``YYYY-MM-DD``. Raises Fatal for anything else."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise Fatal("not a session date", value=text, remedy="write YYYY-MM-DD") from None
