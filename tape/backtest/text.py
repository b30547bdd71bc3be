"""A backtest as text: the figures of each account, then by strategy and exit reason, trades, funnel."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from tapedeck.streams.telling import new_york
from tapedeck.tape.backtest.compare import Comparison
from tapedeck.tape.backtest.measures import Interval
from tapedeck.tape.backtest.result import FILL_MODEL, Backtest, FunnelRow, Stats, Summary, fees_in_words
from tapedeck.tape.backtest.trades import Trade

_REASONS = 12


def as_text(found: Backtest, *, rows: int) -> str:
    """The whole for a terminal; ``rows``: how many trades are shown, the newest."""
    lines = [*heading(found), ""]
    lines += [f"WARNING: {each}" for each in found.warnings]
    lines += ["", *_table(SUMMARY_HEADS, [summary_cells(each) for each in found.summaries])]
    lines += ["", *_table(GROUP_HEADS, [group_cells(found, n) for n in range(len(found.groups))])]
    if rows and found.trades:
        lines += ["", f"the newest {min(rows, len(found.trades))} of {len(found.trades)} trades, New York"]
        lines += _table(TRADE_HEADS, [trade_cells(each) for each in found.trades[-rows:]])
    lines += ["", *_funnel(found.funnel)]
    lines += [f"note: {each}" for each in found.notes[:5]]
    return "\n".join([*lines, "", *closing(found)])


def heading(found: Backtest) -> list[str]:
    """What was run: tape, range, rules."""
    n = len(found.sessions)
    return [
        f"{found.tape}: {n} session{'s' * (n != 1)}, {found.first} to {found.last}, {found.bars:,} bars",
        f"decided under {found.rules}",
    ]


def closing(found: Backtest) -> list[str]:
    """How it was priced, and how long it took."""
    lines = [
        f"fees: {fees_in_words(found.plan.fees)}",
        f"fills: {FILL_MODEL} Seed {found.plan.seed}.",
        f"{len(found.sessions) / found.took_s:.1f} sessions a second, {found.took_s:.1f} s",
    ]
    odd = [each for each in found.summaries if each.unexplained]
    for each in odd:
        lines.append(
            f"UNEXPLAINED: the equity of {each.account_id} at the exchange differs from its trades by "
            f"{usd(each.unexplained)}; report it with the digests of --json"
        )
    return lines


SUMMARY_HEADS = (
    "account", "net", "gain", "fees", "trades", "hit rate", "expectancy [95 %]", "drawdown", "Sharpe",
    "Sortino", "exposure", "turnover", "open",
)  # fmt: skip


def summary_cells(each: Summary) -> list[str]:
    """One account's figures."""
    stats, fall = each.closed, each.drawdown
    return [
        each.account_id,
        usd(each.net),
        share(each.gain),
        usd(each.fees),
        str(stats.trades),
        share(stats.hit_rate.mean) if stats.hit_rate else "-",
        interval(stats.expectancy),
        "-" if fall is None else f"{usd(fall.usd)} ({share(fall.share)})",
        number(each.sharpe),
        number(each.sortino),
        f"{share(each.exposure_mean)} (most {share(each.exposure_most)})",
        number(each.turnover),
        f"{each.still_open} ({usd(each.unrealised)})" if each.still_open else "0",
    ]


GROUP_HEADS = (
    "account", "strategy", "exit reason", "trades", "net", "fees", "hit rate", "expectancy [95 %]",
    "held min",
)  # fmt: skip


def group_cells(found: Backtest, place: int) -> list[str]:
    """One row of P&L by account, strategy and exit reason."""
    group = found.groups[place]
    stats = group.stats
    return [
        group.account_id,
        group.strategy,
        group.exit_reason,
        counted(stats),
        usd(stats.net),
        usd(stats.fees),
        share(stats.hit_rate.mean) if stats.hit_rate else "-",
        interval(stats.expectancy),
        number(stats.held_min, 0),
    ]


def counted(stats: Stats) -> str:
    """How many trades, and how many without a known price."""
    return f"{stats.trades}" + (f" (+{stats.unknown} unknown)" if stats.unknown else "")


TRADE_HEADS = (
    "account", "instrument", "strategy", "qty", "opened", "closed", "entry", "exit", "net", "exit reason",
)  # fmt: skip


def trade_cells(each: Trade) -> list[str]:
    """One trade."""
    return [
        each.account_id,
        each.instrument,
        each.strategy,
        f"{each.qty.normalize():f}" if each.side == "LONG" else f"-{each.qty.normalize():f}",
        new_york(each.opened_at)[:16],
        "" if each.closed_at is None else new_york(each.closed_at)[:16],
        price(each.entry),
        price(each.exit),
        "?" if each.net is None else usd(each.net),
        each.exit_reason,
    ]


def _funnel(rows: Sequence[FunnelRow]) -> Iterator[str]:
    shown: dict[tuple[str, str], int] = {}
    yield "funnel"
    for each in rows:
        place = (each.account_id, each.step)
        shown[place] = shown.get(place, 0) + 1
        if shown[place] <= _REASONS:
            name = f"{each.account_id} {each.step}".strip()
            yield f"  {each.units:>12,}  {name}{': ' + each.reason if each.reason else ''}"


def compared_as_text(found: Comparison) -> str:
    """Two runs and their paired differences."""
    lines = [f"A {found.names[0]}, B {found.names[1]}", *heading(found.a), ""]
    for name, run in zip("AB", (found.a, found.b), strict=True):
        lines += [f"WARNING in {name}: {each}" for each in run.warnings]
        lines += ["", f"{name}: {run.rules}"]
        lines += _table(SUMMARY_HEADS, [summary_cells(each) for each in run.summaries])
    lines += ["", "parameters that differ"]
    lines += [f"  {each}" for each in found.changes] or ["  none"]
    lines += [
        "",
        "B - A per session",
        *_table(PAIRED_HEADS, [paired_cells(found, n) for n in range(len(found.paired))]),
    ]
    return "\n".join([*lines, "", *closing(found.b), *found.notes])


PAIRED_HEADS = (
    "account",
    "sessions",
    "mean difference [95 %]",
    "total",
    "B better",
    "A better",
    "equal",
    "says",
)


def paired_cells(found: Comparison, place: int) -> list[str]:
    """One account's paired difference."""
    each = found.paired[place]
    return [
        each.account_id,
        str(each.sessions),
        interval(each.difference),
        usd(each.total),
        str(each.better),
        str(each.worse),
        str(each.sessions - each.better - each.worse),
        each.verdict,
    ]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    every = [list(heads), *map(list, rows)]
    widths = [max(len(row[at]) for row in every) for at in range(len(heads))]
    left = [all(not _is_number(row[at]) for row in every[1:]) for at in range(len(heads))]
    return [
        "  ".join(
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in every
    ]


def _is_number(text: str) -> bool:
    return bool(text) and (text[0].isdigit() or (text[0] in "-+" and text[1:2].isdigit()))


def usd(amount: Decimal | float) -> str:
    """Dollars and cents."""
    text = f"{amount:,.2f}"
    return "0.00" if text == "-0.00" else text


def price(amount: Decimal | None) -> str:
    """A price; empty where there is none."""
    return (
        "" if amount is None else f"{amount:.4f}".rstrip("0").rstrip(".") if amount % 1 else f"{amount:.2f}"
    )


def share(fraction: float) -> str:
    """A fraction in percent."""
    return f"{100 * fraction:.2f} %"


def number(value: float | None, places: int = 2) -> str:
    """A figure; a dash where it says nothing."""
    return "-" if value is None else f"{value:,.{places}f}"


def interval(found: Interval | None) -> str:
    """A mean with its bounds."""
    if found is None:
        return "-"
    bounds = "" if found.low is None or found.high is None else f" [{usd(found.low)}, {usd(found.high)}]"
    return f"{usd(found.mean)}{bounds}"
