"""A backtest in a notebook: its figures, sessions, trades and samples as polars frames.

Money columns are Decimal(38, 6) in USD, shares and ratios Float64, dates New York dates, and times
Datetime("us") in the zone that was asked for. Null means unknown, or that a figure says nothing.
"""

import operator
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.paper.fills import Fees
from tapedeck.connectors.tapes.market_files.options import Reading
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.sessions import iso_date
from tapedeck.tape.backtest import command
from tapedeck.tape.backtest.checks import Check
from tapedeck.tape.backtest.document import as_document
from tapedeck.tape.backtest.page import cell, table
from tapedeck.tape.backtest.report import as_html
from tapedeck.tape.backtest.result import Backtest
from tapedeck.tape.backtest.text import SUMMARY_HEADS, as_text, summary_cells
from tapedeck.tape.notebook.frames import of_bodies
from tapedeck.tape.notebook.times import known_zone
from tapedeck.tape.notebook.types import SCALE
from tapedeck.tape.topology import topology_in_use

Kind = Any
MONEY, SHARE, COUNT, TEXT, DAY = pl.Decimal(38, SCALE), pl.Float64(), pl.Int64(), pl.String(), pl.Date()
_AT = "time"
_UNIT = Decimal(1).scaleb(-SCALE)
_STATS: Mapping[str, Kind] = {
    "trades": COUNT, "net": MONEY, "gross": MONEY, "fees": MONEY, "hit_rate": SHARE, "hit_rate_low": SHARE,
    "hit_rate_high": SHARE, "expectancy": SHARE, "expectancy_low": SHARE, "expectancy_high": SHARE,
    "average_win": SHARE, "average_loss": SHARE, "profit_factor": SHARE, "held_min": SHARE, "unknown": COUNT,
}  # fmt: skip
_SUMMARY: Mapping[str, Kind] = {
    "account_id": TEXT, "tier": TEXT, "start": MONEY, "end": MONEY, "net": MONEY, "gain": SHARE,
    "fees": MONEY, "sharpe": SHARE, "sortino": SHARE, "drawdown_usd": SHARE, "drawdown_share": SHARE,
    "drawdown_from": _AT, "drawdown_to": _AT, "exposure_mean": SHARE, "exposure_most": SHARE,
    "time_in_market": SHARE, "turnover": SHARE, "still_open": COUNT, "unrealised": MONEY,
    "unexplained": MONEY,
}  # fmt: skip
_DAYS: Mapping[str, Kind] = {
    "account_id": TEXT, "date": DAY, "equity": MONEY, "pnl": MONEY, "gain": SHARE, "exposure": MONEY,
    "executions": COUNT, "traded": MONEY, "fees": MONEY, "opened": COUNT, "closed": COUNT,
}  # fmt: skip
_TRADES: Mapping[str, Kind] = {
    "account_id": TEXT, "position_id": TEXT, "symbol": TEXT, "instrument": TEXT, "kind": TEXT,
    "strategy": TEXT, "owner": TEXT, "side": TEXT, "qty": MONEY, "multiplier": COUNT, "opened_at": _AT,
    "closed_at": _AT, "held_min": SHARE, "entry": MONEY, "exit": MONEY, "cost": MONEY, "gross": MONEY,
    "fees": MONEY, "net": MONEY, "gain": SHARE, "exit_reason": TEXT, "signal_id": TEXT, "confidence": SHARE,
    "peak": MONEY, "worst": MONEY, "priced_by": TEXT,
}  # fmt: skip
_SAMPLES: Mapping[str, Kind] = {
    "account_id": TEXT, "at": _AT, "date": DAY, "equity": MONEY, "exposure": MONEY,
}  # fmt: skip
_FUNNEL: Mapping[str, Kind] = {"account_id": TEXT, "step": TEXT, "reason": TEXT, "units": COUNT}


class Result:
    """What ``td.backtest`` returns; shows itself as the accounts' figures, with what must be known first."""

    def __init__(self, found: Backtest, zone: str, checks: tuple[Check, ...] = ()) -> None:
        self.found, self.checks, self._zone = found, checks, zone

    def __repr__(self) -> str:
        return "\n".join([as_text(self.found, rows=0), *map(str, self.checks)])

    def _repr_html_(self) -> str:
        warnings = "".join(f"<p>&#9888; {each}</p>" for each in self.found.warnings)
        rows = [[cell(text) for text in summary_cells(each)] for each in self.found.summaries]
        return f"{warnings}{table('accounts', SUMMARY_HEADS, rows)}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be known before a figure is believed: what of it is synthetic."""
        return self.found.warnings

    @property
    def accounts(self) -> pl.DataFrame:
        """One row per account: the figures of the whole run. ``closed_`` columns are of closed trades."""
        rows = []
        for each in self.found.summaries:
            fall = each.drawdown
            closed = {f"closed_{name}": value for name, value in _stats(each.closed).items()}
            rows.append(
                {
                    **each._asdict(),
                    **closed,
                    "drawdown_usd": fall and fall.usd,
                    "drawdown_share": fall and fall.share,
                }
            )
        kinds = {**_SUMMARY, **{f"closed_{name}": kind for name, kind in _STATS.items()}}
        return self._frame(kinds, rows)

    @property
    def groups(self) -> pl.DataFrame:
        """P&L by account, strategy and exit reason; STILL_OPEN at mid."""
        kinds = {"account_id": TEXT, "strategy": TEXT, "exit_reason": TEXT, **_STATS}
        return self._frame(kinds, ({**each._asdict(), **_stats(each.stats)} for each in self.found.groups))

    @property
    def sessions(self) -> pl.DataFrame:
        """One row per account and session."""
        return self._frame(_DAYS, (each._asdict() for each in self.found.days))

    @property
    def trades(self) -> pl.DataFrame:
        """One row per position."""
        wanted = operator.attrgetter(*_TRADES)
        return self._frame(
            _TRADES, (dict(zip(_TRADES, wanted(each), strict=True)) for each in self.found.trades)
        )

    @property
    def equity(self) -> pl.DataFrame:
        """Equity and exposure of each account, every five minutes of a session and at its end."""
        return self._frame(
            _SAMPLES,
            (
                {"account_id": name, **sample._asdict()}
                for name, samples in self.found.samples.items()
                for sample in samples
            ),
        )

    @property
    def funnel(self) -> pl.DataFrame:
        """How many units left each step, and for which reason."""
        return self._frame(_FUNNEL, (each._asdict() for each in self.found.funnel))

    def records(self, name: str) -> pl.DataFrame:
        """What the accounts wrote to topic ``name``, such as "orders" or "proposals": columns as ``td.tap``.

        Raises Fatal for a topic that accounts do not write.
        """
        topics = topology_in_use().account.outputs
        if name not in topics:
            raise Fatal(
                "accounts do not write this topic", value=name, remedy=f"write one of {', '.join(topics)}"
            )
        bodies = [body for each in self.found.ran.accounts for body in each.records[name]]
        fields = [field for field in (bodies[0] if bodies else {})]
        frame = of_bodies(name, bodies, [(0, at) for at in range(len(bodies))], fields, self._zone)
        return frame.drop("_partition", "_offset")

    def report(self, path: str | Path) -> Path:
        """Write the HTML page to ``path``."""
        target = Path(path)
        target.write_text(as_html(self.found, None, self.checks, made_us=SystemClock().now()))
        return target

    def document(self) -> dict[str, Any]:
        """What ``tape backtest --json`` prints."""
        return as_document(self.found, None, self.checks)

    def _frame(self, kinds: Mapping[str, Kind], rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
        every = list(rows)
        return pl.DataFrame([self._column(name, kind, every) for name, kind in kinds.items()])

    def _column(self, name: str, kind: Kind, rows: list[Mapping[str, Any]]) -> pl.Series:
        values = [row[name] for row in rows]
        if kind == _AT:
            return (
                pl.Series(name, values, dtype=pl.Int64())
                .cast(pl.Datetime("us", "UTC"))
                .dt.convert_time_zone(self._zone)
            )
        if kind == DAY:
            return pl.Series(name, [iso_date(each) for each in values], dtype=DAY)
        if kind == MONEY:
            values = [None if each is None else each.quantize(_UNIT) for each in values]
        return pl.Series(name, values, dtype=kind)


def _stats(stats: Any) -> dict[str, Any]:
    """The figures of some trades with intervals in three columns."""
    told: dict[str, Any] = stats._asdict()
    for name in ("hit_rate", "expectancy"):
        found = told.pop(name)
        told |= {
            name: found and found.mean,
            f"{name}_low": found and found.low,
            f"{name}_high": found and found.high,
        }
    return told


def backtest(
    tape: str | Path,
    *,
    since: date | str | None = None,
    until: date | str | None = None,
    config: Config | str | Path | None = None,
    accounts: str | Iterable[str] | None = None,
    fees: Fees | str = "alpaca",
    cash: Mapping[str, Decimal | int] | None = None,
    seed: int = 0,
    quotes: str | Path | None = None,
    news: str | Path | None = None,
    regime: str | Path | None = None,
    earnings: str | Path | None = None,
    symbols: str | Iterable[str] | None = None,
    market_since: date | str | None = None,
    check_lookahead: bool = False,
    check_startup: int = 0,
    workers: int = 1,
    zone: str = "UTC",
) -> Result:
    """See ``Connection.backtest``."""
    path = Path(config) if isinstance(config, str) else config
    names = (symbols,) if isinstance(symbols, str) else tuple(symbols or ())
    wanted = command.Wanted(check_lookahead, check_startup)
    asked = command.Asked(
        source=TapeSource(
            tape=str(tape),
            since=_day(market_since, "market_since"),
            quotes=None if quotes is None else Path(quotes),
            news=None if news is None else Path(news),
            reading=Reading(symbols=names),
        ),
        since=_day(since, "since"),
        until=_day(until, "until"),
        accounts=None if accounts is None else (accounts,) if isinstance(accounts, str) else tuple(accounts),
        fees=fees if isinstance(fees, Fees) else command.fees_of(fees),
        cash={name: Decimal(usd) for name, usd in (cash or {}).items()},
        seed=seed,
        workers=workers,
        daily=wanted.any,
        outlook=command.outlook_of({"regime": regime, "earnings": earnings}),
    )
    known = known_zone(zone)
    topology = topology_in_use(path if isinstance(path, Path) else None)
    found = command.run_one(topology, asked, path)
    checks = command.check(topology, asked, found, wanted)
    return Result(found, known, tuple(checks))


def _day(given: date | str | None, what: str) -> date | None:
    """A session's date. Raises Fatal for anything else."""
    if given is None or type(given) is date:
        return given
    try:
        return date.fromisoformat(str(given))
    except ValueError:
        remedy = 'write "2026-02-17": sessions are New York dates'
        raise Fatal(f"{what} is not a session's date", value=str(given), remedy=remedy) from None
