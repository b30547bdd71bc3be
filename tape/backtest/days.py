"""Sessions in the form in which a backtest reads them: the market's records in blocks, quotes beside them."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tapedeck.connectors.tapes.market import Market
from tapedeck.connectors.tapes.player import Pace, Player, Standing
from tapedeck.connectors.tapes.tape import Body, Minute, Tape
from tapedeck.streams.blocks import Block
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.tape.backtest.log import RollingLog
from tapedeck.topics.catalogue import Layout

TEXTS = ("news", "posts")
_SYNTHETIC = "synthetic"


@dataclass(frozen=True, kw_only=True)
class Day:
    """One session: ``date`` in days, ``first`` and ``last`` the labels of its minutes.

    ``blocks``: what its records are in the log, each partition's in order, warm-up first; their offsets say
    nothing. ``texts``: the minutes with articles or posts. ``bars``: how many it plays.
    """

    date: int
    first: int
    last: int
    name: str
    origin: str
    market: Market
    blocks: tuple[Block, ...]
    texts: tuple[Minute, ...]
    bars: int
    symbols: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> range:
        """The minutes."""
        return range(self.first, self.last + MINUTE_US, MINUTE_US)

    @property
    def made_up(self) -> tuple[str, ...]:
        """What of it is synthetic, of "bars", "stock quotes" and "option chains"."""
        origins = {
            "bars": self.origin,
            "stock quotes": self.market.quote_origin,
            "option chains": self.market.origin,
        }
        return tuple(what for what, origin in origins.items() if origin.startswith(_SYNTHETIC))


@dataclass
class Written:
    """What the log has of the warm-up of the next tape."""

    newest: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    universe: Body | None = None
    origin: str = ""
    notes: tuple[str, ...] = ()

    def add(self, bars: Iterable[Body]) -> None:
        for body in bars:
            key, at = (body["feed"], body["symbol"]), (body["t"], body["revision"])
            self.newest[key] = max(at, self.newest.get(key, at))


class _Writer:
    """A LogWriter that keeps only the topics that somebody reads."""

    def __init__(self, log: RollingLog, names: Collection[str], written: Written) -> None:
        self._to, self._names, self._written = log.writer(), names, written

    def send(self, name: str, body: dict[str, Any], headers: dict[str, bytes] | None = None) -> None:
        if name == "universe":
            self._written.universe = body
        if name in self._names:
            self._to.send(name, body, headers)

    def watermark(self, name: str, label: int) -> None:
        if name in self._names:
            self._to.watermark(name, label)

    def opening(self, *told: Any) -> None:
        """A backtest has no absent input: nothing is opened."""

    def flush(self) -> None:
        pass


def days_of(
    tapes: Iterable[Tape], names: Collection[str], layout: Layout, written: Written | None = None
) -> Iterator[Day]:
    """The sessions of ``tapes`` with the records of the topics ``names``, as the player writes them.

    The warm-up of the first is written whole, that of a later one where the log lacks it: ``written`` says
    what it has, and is brought up to date.
    """
    written, log = written or Written(), RollingLog(layout)
    for tape in tapes:
        player = Player(tape, _Writer(log, set(names) - set(TEXTS), written), Pace(None))
        standing = Standing(dict(written.newest), written.universe)
        player.play(_nothing, lambda since, known=standing: known)  # type: ignore[misc]
        written.add(tape.history)
        written.origin, written.notes = tape.origin, tape.notes
        for minute in tape:
            written.add(minute.bars)
        blocks = tuple(Block.of(messages) for _, messages in log.parts())
        log.forget()
        yield Day(
            date=tape.session,
            first=tape.first_live,
            last=tape.minutes[-1].label,
            name=tape.name,
            origin=tape.origin,
            market=tape.market,
            blocks=blocks,
            texts=tuple(minute for minute in tape if minute.news or minute.posts),
            bars=sum(len(minute.bars) for minute in tape),
            symbols=tuple(tape.symbols),
            notes=tape.notes,
        )


def _nothing() -> Mapping[tuple[str, int], int | None]:
    return {}
