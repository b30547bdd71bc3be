"""A whole market file on disk by New York date, so that one session at a time is in memory."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tapedeck.connectors.tapes.market_files.tables import DAY, Reader

_HELD = 400_000
PLACE = "nth"


class Spool:
    """The rows of ``reader`` in ``folder``. ``PLACE`` numbers them in file order."""

    def __init__(self, reader: Reader, folder: Path) -> None:
        self.reader = reader
        self._folder = folder
        self._held: dict[int, list[pl.DataFrame]] = {}
        self._rows = self._files = 0
        self.order = Order()

    def fill(self) -> None:
        """Read all of it. Raises Fatal like the reader."""
        held = 0
        for _, rows in self.reader.batches():
            self.order.see(rows)
            frame = rows.with_row_index(PLACE, offset=self._rows)
            self._rows += frame.height
            held += frame.height
            for each in frame.partition_by(DAY):
                self._held.setdefault(each[DAY][0], []).append(each)
            if held >= _HELD:
                self._flush()
                held = 0
        self._flush()

    def days(self) -> list[int]:
        """The New York dates that have rows."""
        return sorted(int(path.name) for path in self._folder.iterdir())

    def day(self, day: int) -> pl.DataFrame:
        """The rows of one date in file order, with prices in dollars."""
        files = sorted((self._folder / str(day)).iterdir())
        frames = [pl.read_ipc(path) for path in files]
        return self.reader.prices.scaled(pl.concat(frames, how="diagonal").sort(PLACE))

    def each(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """All dates, one by one."""
        for day in self.days():
            yield day, self.day(day)

    def _flush(self) -> None:
        for day, frames in self._held.items():
            folder = self._folder / str(day)
            folder.mkdir(exist_ok=True)
            self._files += 1
            pl.concat(frames, how="diagonal").write_ipc(folder / f"{self._files:08d}", compression="lz4")
        self._held = {}


class Order:
    """The order of a file's rows."""

    def __init__(self) -> None:
        self._by_time = self._by_symbol = True
        self._last: tuple[str, int] | None = None

    def see(self, frame: pl.DataFrame) -> None:
        """Note the rows of a batch."""
        if self._last is not None:
            before = pl.DataFrame({"symbol": [self._last[0]], "ts": [self._last[1]]})
            frame = pl.concat([before, frame.select("symbol", "ts")])
        same = frame["symbol"] == frame["symbol"].shift(1)
        back = frame["ts"] < frame["ts"].shift(1)
        self._by_time = self._by_time and not back.any()
        self._by_symbol = self._by_symbol and not (same & back).any()
        self._last = frame["symbol"][-1], frame["ts"][-1]

    def words(self) -> str:
        """The order in words."""
        if self._by_time:
            return "by time"
        return "by time within each symbol" if self._by_symbol else "not by time, which plays all the same"
