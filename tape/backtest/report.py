"""A backtest as one HTML page: plots and tables; it loads nothing from the network."""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from tapedeck.streams.sessions import iso_date
from tapedeck.streams.telling import new_york
from tapedeck.tape.backtest import plots
from tapedeck.tape.backtest.account import Sample
from tapedeck.tape.backtest.checks import Check
from tapedeck.tape.backtest.compare import Comparison
from tapedeck.tape.backtest.page import COLORS, cell, page, table
from tapedeck.tape.backtest.plots import Line
from tapedeck.tape.backtest.result import FILL_MODEL, Backtest, Summary, fees_in_words
from tapedeck.tape.backtest.text import (
    GROUP_HEADS,
    PAIRED_HEADS,
    TRADE_HEADS,
    group_cells,
    heading,
    interval,
    number,
    paired_cells,
    share,
    trade_cells,
    usd,
)

ROWS = 2000
"""The most rows of one table, so that browsers can scroll the page."""


def as_html(
    found: Backtest, both: Comparison | None = None, checks: Sequence[Check] = (), *, made_us: int
) -> str:
    """The page; with ``both``, of run B and its differences from run A. ``made_us``: when, UTC micros."""
    title = f"Backtest {found.first} to {found.last}"
    said = heading(found)
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(said[0])}<br>{escape(said[1])}; made {new_york(made_us)} New York</p>',
        *(f'<p class="warning">{escape(each)}</p>' for each in found.warnings),
        *(_check(each) for each in checks),
    ]
    if both is not None:
        body += list(_comparison(both))
    body += [
        "<h2>Accounts</h2>",
        *(_figures(each) for each in found.summaries),
        *_curves(found),
        *_groups(found),
        *_trades(found),
        *_funnel(found),
        "<h2>How it was priced</h2>",
        f"<p>Fees, USD: {escape(fees_in_words(found.plan.fees))}.</p>",
        f"<p>Fills: {escape(FILL_MODEL)} Seed {found.plan.seed}.</p>",
        *(f"<p>Note: {escape(each)}</p>" for each in found.notes[:10]),
    ]
    return page(title, body)


def _check(each: Check) -> str:
    kind = "passed" if each.passed else "warning"
    more = "".join(f"<br>{escape(detail)}" for detail in each.details[:10])
    state = "passed" if each.passed else "FAILED"
    return f'<p class="{kind}">Check {escape(each.name)} {state}: {escape(each.said)}{more}</p>'


def _figures(each: Summary) -> str:
    """The figures of one account, as tiles."""
    stats, fall = each.closed, each.drawdown
    when = ""
    if each.drawdown_from is not None and each.drawdown_to is not None:
        when = f"{new_york(each.drawdown_from)[:10]} to {new_york(each.drawdown_to)[:10]}"
    hit = stats.hit_rate
    between = (
        ""
        if hit is None or hit.low is None or hit.high is None
        else f"{share(hit.low)} to {share(hit.high)} at 95 %"
    )
    tiles = [
        ("net P&L", usd(each.net), f"{share(each.gain)} of {usd(each.start)}", each.net >= 0),
        ("fees", usd(each.fees), "in the net", None),
        ("closed trades", str(stats.trades), f"held {number(stats.held_min, 0)} min on average", None),
        ("hit rate", share(hit.mean) if hit else "-", between, None),
        ("expectancy a trade", interval(stats.expectancy), "mean net with 95 % interval", None),
        ("profit factor", number(stats.profit_factor), "won over lost", None),
        (
            "deepest drawdown",
            "-" if fall is None else usd(fall.usd),
            f"{share(fall.share)} {when}" if fall else "",
            None,
        ),
        (
            "Sharpe / Sortino",
            f"{number(each.sharpe)} / {number(each.sortino)}",
            "by session, a year of 252",
            None,
        ),
        (
            "exposure",
            share(each.exposure_mean),
            f"most {share(each.exposure_most)}, in the market {share(each.time_in_market)}",
            None,
        ),
        ("turnover", number(each.turnover), "traded over mean equity", None),
        ("still open", str(each.still_open), f"{usd(each.unrealised)} at mid, after fees", None),
    ]
    shown = "".join(
        f'<div class="tile"><span>{escape(name)}</span><b{_tone(good)}>{escape(value)}</b>'
        f"<i>{escape(more)}</i></div>"
        for name, value, more, good in tiles
    )
    odd = ""
    if each.unexplained:
        odd = (
            f'<p class="warning">The equity of {escape(each.account_id)} at the exchange differs from its '
            f"trades by {usd(each.unexplained)}.</p>"
        )
    head = f"<h3>{escape(each.account_id)} <small>{escape(each.tier)}</small></h3>"
    return f"{head}<div class='tiles'>{shown}</div>{odd}"


def _tone(good: bool | None) -> str:
    return "" if good is None else ' class="up"' if good else ' class="down"'


def _section(title: str, soft: str, *content: str) -> str:
    """A heading, a line in small, what follows; ``soft`` is HTML."""
    return f'<h2>{escape(title)}</h2><p class="soft">{soft}</p>{"".join(content)}'


def _curves(found: Backtest) -> Iterable[str]:
    labels = [str(iso_date(each.date)) for each in found.sessions]
    names = list(found.samples)
    growth, fall, exposure = [], [], []
    for at, name in enumerate(names):
        start, curve, below, held = float(found.summary(name).start), [], [], []
        top = start
        for x, sample in _placed(found, name):
            equity = float(sample.equity)
            top = max(top, equity)
            curve.append((x, 100 * (equity / start - 1)))
            below.append((x, 100 * (equity / top - 1) if top else 0.0))
            held.append((x, 100 * float(sample.exposure) / equity if equity else 0.0))
        color = at % COLORS
        growth.append(Line(name, curve, color))
        fall.append(Line(name, below, color))
        exposure.append(Line(name, held, color))
    key = "".join(f'<span class="key c{at % COLORS}"></span>{escape(name)}' for at, name in enumerate(names))
    soft = f"every five minutes of each session, %{key}"
    yield _section(
        "Equity", f"change since the start, {soft}", plots.lines("Equity", growth, labels, unit=" %")
    )
    yield _section("Drawdown", soft, plots.lines("Drawdown", fall, labels, unit=" %", area=True))
    soft = f"gross market value over equity, {soft}"
    yield _section("Exposure", soft, plots.lines("Exposure", exposure, labels, unit=" %", area=True))
    for name in names:
        pnl = [float(each.pnl) for each in found.days if each.account_id == name]
        shown = plots.columns("P&L per session", pnl, labels)
        yield _section(f"P&L per session, {name}", "USD, after fees, at mid", shown)


def _placed(found: Backtest, name: str) -> Iterable[tuple[float, Sample]]:
    """The samples of an account with their place: session n ends at n, and begins at n - 1."""
    places = {each.date: at for at, each in enumerate(found.sessions)}
    samples = found.samples[name]
    count = Counter(each.date for each in samples)
    seen = Counter[int]()
    for sample in samples:
        seen[sample.date] += 1
        yield places[sample.date] - 1 + seen[sample.date] / count[sample.date], sample


def _groups(found: Backtest) -> Iterable[str]:
    if not found.groups:
        return
    rows = [
        (f"{each.account_id} {each.strategy} {each.exit_reason}", float(each.stats.net), usd(each.stats.net))
        for each in found.groups
    ]
    shown = plots.bars("Net P&L", rows)
    yield _section("By strategy and exit reason", "net, USD; STILL_OPEN at mid", shown)
    cells = [
        [cell(text, "n" if at > 2 else "") for at, text in enumerate(group_cells(found, n))]
        for n in range(len(found.groups))
    ]
    yield table("groups", GROUP_HEADS, cells)


def _trades(found: Backtest) -> Iterable[str]:
    closed = [float(each.net) for each in found.trades if each.net is not None and not each.is_open]
    if closed:
        shown = plots.histogram("Trades by result", closed)
        yield _section("Trades by result", "net of closed trades, USD", shown)
    newest = found.trades[-ROWS:]
    left = f"; the newest {ROWS} are shown, --json has all" if len(found.trades) > ROWS else ""
    numbers = {3, 6, 7, 8}
    rows = [
        [cell(text, "n" if at in numbers else "t") for at, text in enumerate(trade_cells(each))]
        for each in newest
    ]
    yield (
        f'<h2>Trades</h2><p class="soft">{len(found.trades)}, times in New York{left}</p>'
        '<input data-for="trades" placeholder="filter, such as NVDA STOP_LOSS" aria-label="filter">'
        f"{table('trades', TRADE_HEADS, rows)}"
    )


def _funnel(found: Backtest) -> Iterable[str]:
    rows = [
        [cell(each.account_id or "market"), cell(each.step), cell(each.reason), cell(f"{each.units:,}", "n")]
        for each in found.funnel
    ]
    yield f"<h2>Funnel</h2>{table('funnel', ('account', 'step', 'reason', 'count'), rows)}"


def _comparison(both: Comparison) -> Iterable[str]:
    yield (
        f'<p class="verdict">A is <code>{escape(both.names[0])}</code>, B is '
        f"<code>{escape(both.names[1])}</code>. The figures below are those of B.</p>"
    )
    changes = "".join(f"<li><code>{escape(each)}</code></li>" for each in both.changes) or "<li>none</li>"
    yield f"<h2>Parameters that differ</h2><ul>{changes}</ul>"
    cells = [[cell(text) for text in paired_cells(both, n)] for n in range(len(both.paired))]
    yield f"<h2>B less A, paired by session</h2>{table('paired', PAIRED_HEADS, cells)}"
    labels = [str(iso_date(each.date)) for each in both.b.sessions]
    for name, each in both.differences.items():
        total, sums = 0.0, []
        for at, (_, usd_) in enumerate(each):
            total += float(usd_)
            sums.append((float(at), total))
        yield (
            f"<h3>{escape(name)}</h3><p class='soft'>B less A, added up, USD</p>"
            f"{plots.lines('B less A', [Line(name, sums, 0)], labels, area=True)}"
        )
    yield from (f"<p>{escape(note)}</p>" for note in both.notes)
