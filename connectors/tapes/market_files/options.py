"""What a person adds about a file that does not say it: zone, column names, duplicates, symbols, scale."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from zoneinfo import ZoneInfo, available_timezones

from tapedeck.connectors.tapes.market_files.columns import NAMES
from tapedeck.schemas.errors import Fatal

DEFAULT_FEED = "iex"
Tell = Callable[[str], None]


def quiet(line: str) -> None:
    """Report to nobody."""
    del line


class Duplicates(StrEnum):
    """What to do with rows of the same symbol and minute that have other values."""

    REFUSE = "refuse"
    LAST = "last"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How to read a file. ``zone`` applies to times without one; ``columns`` maps our names to the file's;
    empty ``symbols`` take every one; ``scale`` divides the prices, None looks for a typical one."""

    zone: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    duplicates: Duplicates = Duplicates.REFUSE
    symbols: tuple[str, ...] = ()
    scale: int | None = None

    @classmethod
    def parse(
        cls,
        *,
        zone: str | None = None,
        columns: str | None = None,
        duplicates: str | None = None,
        symbols: str | None = None,
        scale: int | None = None,
    ) -> "Reading":
        """From the texts of a command line. Raises Fatal for invalid ones."""
        return cls(
            zone=None if zone is None else known_zone(zone),
            columns=_mapping(columns or ""),
            duplicates=Duplicates(duplicates or Duplicates.REFUSE),
            symbols=_symbols(symbols),
            scale=scale,
        )

    def described(self) -> dict[str, str]:
        """The description for another process: only what is not the default."""
        told = {"zone": self.zone or "", "symbols": ",".join(self.symbols)}
        told["columns"] = ",".join(f"{ours}={theirs}" for ours, theirs in self.columns)
        told["duplicates"] = "" if self.duplicates is Duplicates.REFUSE else self.duplicates.value
        told["scale"] = "" if self.scale is None else str(self.scale)
        return {name: text for name, text in told.items() if text}

    @classmethod
    def of(cls, told: Mapping[str, str]) -> "Reading":
        """The Reading that a description describes."""
        scale = told.get("scale")
        names = ("zone", "columns", "duplicates", "symbols")
        return cls.parse(**{name: told.get(name) for name in names}, scale=int(scale) if scale else None)


def known_zone(name: str) -> str:
    """``name`` as the zone database spells it. Raises Fatal with the nearest for an unknown one."""
    known = {zone.casefold(): zone for zone in available_timezones()}
    if (found := known.get(name.strip().casefold())) is not None:
        return ZoneInfo(found).key
    near = get_close_matches(name.casefold(), known, n=1, cutoff=0.5)
    meant = f"did you mean {known[near[0]]}? " if near else ""
    raise Fatal("there is no such time zone", value=name, remedy=f"{meant}write --zone America/New_York")


def _mapping(text: str) -> tuple[tuple[str, str], ...]:
    found = []
    for pair in filter(None, (part.strip() for part in text.split(","))):
        ours, equals, theirs = (part.strip() for part in pair.partition("="))
        if not equals or not theirs:
            raise Fatal("not a mapping of columns", value=pair, remedy="write --columns ts=when,close=last")
        if ours not in NAMES:
            remedy = f"write one of {', '.join(NAMES)} before the = and the file's own name after it"
            raise Fatal("a tape has no such column", value=ours, remedy=remedy)
        found.append((ours, theirs))
    return tuple(found)


def _symbols(text: str | None) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
    if text is not None and not names:
        raise Fatal("no symbol is named", value=text, remedy="write --symbols AMD,NVDA or leave it out")
    return names
