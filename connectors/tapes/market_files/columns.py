"""The columns of a market file: their declared types, and the names people use for them."""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from tapedeck.schemas.errors import Fatal


class Kind(Enum):
    """The type of a column: declared here, never guessed from the data."""

    TEXT = "text"
    NUMBER = "numbers"
    WHOLE = "whole numbers"
    TIME = "times"


class Column(NamedTuple):
    """``names``: its synonyms; the first that a file has is used. ``unknown``: cells may be empty."""

    name: str
    kind: Kind
    names: tuple[str, ...] = ()
    needed: bool = True
    unknown: bool = False


class Spec(NamedTuple):
    """The columns of one kind of file. ``prices`` are those that a fixed-point scale applies to. Both columns
    of ``pair`` are taken under names at the same position in their lists."""

    what: str
    columns: tuple[Column, ...]
    prices: tuple[str, ...]
    pair: tuple[str, ...] = ()


_SYMBOL = Column("symbol", Kind.TEXT, ("ticker", "sym", "act_symbol", "s"))
_TS = Column(
    "ts",
    Kind.TIME,
    (
        "timestamp", "datetime", "date_time", "window_start", "ts_event", "bar_time", "open_time",
        "start_time", "time_utc", "epoch", "time", "t", "date",
    ),
)  # fmt: skip
_PRICES = ("open", "high", "low", "close")

BARS = Spec(
    "bars",
    (
        _SYMBOL,
        _TS,
        *(Column(name, Kind.NUMBER, (name[0], f"{name}_price", f"{name}price")) for name in _PRICES),
        Column("volume", Kind.NUMBER, ("vol", "v", "size")),
        Column("revision", Kind.WHOLE, needed=False),
        Column("feed", Kind.TEXT, needed=False),
    ),
    _PRICES,
)
_SIDES = ("bid", "ask")
_ELSE = (
    ("bid_close", "bid_price", "bp", "bid_px_00"),
    ("ask_close", "ask_price", "ap", "ask_px_00"),
)  # the names at one position are one pair
_SIZES = (("bidsize", "bs", "bid_sz_00"), ("asksize", "as", "ask_sz_00"))

QUOTES = Spec(
    "quotes",
    (
        _SYMBOL,
        _TS,
        *(Column(side, Kind.NUMBER, names, unknown=True) for side, names in zip(_SIDES, _ELSE, strict=True)),
        *(
            Column(f"{side}_size", Kind.NUMBER, names, needed=False, unknown=True)
            for side, names in zip(_SIDES, _SIZES, strict=True)
        ),
    ),
    _SIDES,
    pair=_SIDES,
)
NAMES = tuple(
    dict.fromkeys(
        ["symbol", "ts", "date", "time", *(c.name for spec in (BARS, QUOTES) for c in spec.columns)]
    )
)
"""What may be left of the = in a mapping."""


class Matched(NamedTuple):
    """Which column of the file each of ours is: ``ts`` has two if it is made from a date and a time.
    ``ignored`` are the file's other columns."""

    taken: dict[str, tuple[str, ...]]
    ignored: tuple[str, ...]

    def all(self) -> list[str]:
        """The columns of the file that are read, each once, in our order."""
        return list(dict.fromkeys(theirs for pair in self.taken.values() for theirs in pair))


def match(
    where: str, header: Sequence[str], spec: Spec, mapping: Iterable[tuple[str, str]], *, named: bool = False
) -> Matched:
    """Find the columns of ``spec`` under their own names, ``mapping`` or a synonym, ignoring case.

    ``named``: the file's name is its symbol, so that column may be missing. Raises Fatal for a column that is
    missing or occurs twice.
    """
    header = list(header)
    told = _told(where, header, spec, dict(mapping))
    taken: dict[str, tuple[str, ...]] = {}
    for column in spec.columns:
        if column.name in spec.pair:
            continue
        found = told.get(column.name) or _times(where, header, column, told)
        found = found or _single(where, header, (column.name, *column.names))
        if found:
            taken[column.name] = found
    taken |= _pair(where, header, spec, told)
    missing = [c.name for c in spec.columns if c.needed and c.name not in taken and c.name not in spec.pair]
    if named and "symbol" in missing:
        missing.remove("symbol")
    if any(side not in taken for side in spec.pair):
        missing.append("bid, ask or bid_close, ask_close")
    if missing:
        raise _lacks(where, header, spec, missing)
    used = {theirs for pair in taken.values() for theirs in pair}
    order = {c.name: taken[c.name] for c in spec.columns if c.name in taken}
    return Matched(order, tuple(name for name in header if name not in used))


def _told(where: str, header: list[str], spec: Spec, mapping: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """What the mapping says about this kind of file. Only bars must have every column that it names."""
    known = {column.name for column in spec.columns} | {"date", "time"}
    found = {}
    for ours, theirs in mapping.items():
        if ours in known and (at := _single(where, header, (theirs,))):
            found[ours] = at
        elif ours in known and spec is BARS:
            remedy = f"it has {', '.join(header)}"
            raise Fatal(
                f"{where} has no column with this name, which --columns gives", value=theirs, remedy=remedy
            )
    return found


def _times(
    where: str, header: list[str], column: Column, told: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """A date and a time in two columns, if no single column of the file is named like both."""
    if column.kind is not Kind.TIME or _single(where, header, (column.name, *column.names[:-3])):
        return ()
    day = told.get("date") or _single(where, header, ("date", "day", "trade_date"))
    minute = told.get("time") or _single(where, header, ("time", "minute", "bar_minute"))
    if minute and not day and "time" in told:
        return minute
    return (*day, *minute) if day and minute else ()


def _pair(
    where: str, header: list[str], spec: Spec, told: dict[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    columns = [column for column in spec.columns if column.name in spec.pair]
    for names in zip(*((column.name, *column.names) for column in columns), strict=True):
        found = [
            told.get(c.name) or _single(where, header, (n,)) for c, n in zip(columns, names, strict=True)
        ]
        if all(found):
            return dict(zip(spec.pair, found, strict=True))
    return {}


def _single(where: str, header: list[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """The first of ``names`` that the file has, with exact spelling or else ignoring case."""
    for name in names:
        if header.count(name) == 1:
            return (name,)
        found = [theirs for theirs in header if theirs.casefold() == name.casefold()]
        if len(found) > 1:
            remedy = "rename one of them, or choose one with --columns"
            raise Fatal(f"{where} has two columns with the same name", value=found, remedy=remedy)
        if found:
            return (found[0],)
    return ()


def _lacks(where: str, header: list[str], spec: Spec, missing: list[str]) -> Fatal:
    needed = [c.name for c in spec.columns if c.needed and c.name not in spec.pair]
    remedy = f"a tape of {spec.what} needs {', '.join([*needed, *spec.pair])}"
    if any(name in missing for name in ("symbol",)):
        remedy += "; if each file's name is its symbol, name the folder or a pattern such as 'DIR/*.csv'"
    remedy += "; give other names with --columns ts=when,close=last"
    return Fatal(f"{where} lacks the column {' and '.join(missing)}", value=header, remedy=remedy)
