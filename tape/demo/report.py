"""A demo's summary for people: the funnel, the orders, what is synthetic, what to look at next."""

import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tapedeck.streams.funnel import FunnelLine
from tapedeck.tape.demo.demo import SUMMARY
from tapedeck.tape.demo.news import NewsTold
from tapedeck.tape.demo.summary import AccountTold, Summary, is_synthetic
from tapedeck.tape.local.places import in_words, size_of

_SHOWN = 4
_DIGEST_SHOWN = 12
_FILE_WIDTH = 110


def report(summary: Summary, folder: Path, *, kept: bool) -> None:
    """Print everything to standard output. ``kept``: the stack still runs."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(f"\n[bold]{escape(str(summary.tape['name']))}[/bold], {summary.tape['minutes']} minutes\n")
    console.print(_funnel(summary.funnel))
    for words in filter(None, map(why_none, summary.funnel)):
        console.print(f"  {words}")
    if summary.news is not None:
        console.print("\n", _news(summary.news), sep="")
        console.print(f"  {_changed(summary.news)}")
    console.print("\n", _tiers(summary.accounts), "\n", sep="")
    if any(account.orders for account in summary.accounts):
        console.print(_orders(summary.accounts), "\n", sep="")
    _synthetic(console, summary)
    console.print(_topics(summary))
    console.print()
    console.print(_digests(summary))
    console.print()
    timings = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in summary.timings.items())
    console.print(f"Timings: {timings}; {sum(summary.timings.values()):.1f} s in all")
    sizes = in_words(summary.bytes_on_disk), in_words(size_of(folder.parent))
    console.print(f"Disk: {folder} holds {sizes[0]}, all of {folder.parent} {sizes[1]}\n")
    _next_steps(console, summary, folder, kept)
    _verdict(console, summary)


def why_none(line: FunnelLine) -> str | None:
    """Why nothing came out of a stage; None if something did."""
    if line.given:
        return None
    if not line.taken:
        return f"{line.name}: none, because nothing reached this stage"
    return f"{line.name}: none of {line.taken} ({line.unit}), because {_reasons(line.top(_SHOWN))}"


def commands(summary: Summary) -> list[str]:
    """The ``tape`` commands to try next on the session that was played."""
    topic, symbol = summary.look_at
    why = [f"why {shlex.quote(symbol)}"] if symbol else []
    if summary.news is not None and summary.news.signals:
        why.append(f"explain {summary.news.signals[0].signal_id}")
    return ["status", f"tail {topic}", *why, "digest --rebuild", "rebuild --verify", "logs features"]


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)


def _reasons(pairs: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in pairs) or "-"


def _funnel(lines: Sequence[FunnelLine]) -> Table:
    table = _table("Funnel: in = out + reasons", "stage", "in", "out", "reasons")
    for line in lines:
        reasons = _reasons(line.top(_SHOWN))
        more = len(line.reasons) - _SHOWN
        if more > 0:
            reasons += f", {more} more"
        if not line.balanced:
            reasons = f"[red]{line.unexplained} unexplained[/red], {reasons}"
        given = str(line.given) if line.given else "[yellow]0[/yellow]"
        table.add_row(line.name, str(line.taken), given, reasons)
    return table


def _news(news: NewsTold) -> Table:
    """What came of articles and posts, step by step."""
    table = _table("News: what came of it", "step", "count", "")
    rows: list[tuple[str, int, str]] = [
        ("items", news.articles + news.posts, f"{news.articles} articles, {news.posts} posts"),
        ("linked", news.linked, f"name a symbol; {news.folded} items tell a story that was told before"),
        ("scored", news.scored, f"an item for a symbol; {news.retracted} symbols were withdrawn later"),
        ("windows", news.windows, "moods of a symbol that changed"),
        ("watch scores", news.watch_scores, "count news"),
        ("decisions", news.decisions, "count news"),
        ("signals", len(news.signals), "have another confidence because of news"),
    ]
    for step, count, words in rows:
        table.add_row(step, str(count), words)
    return table


def _changed(news: NewsTold) -> str:
    """The signal that news changed most, in words."""
    if not news.signals:
        return "no signal's confidence was changed by news"
    first = news.signals[0]
    return (
        f"{first.symbol} {first.action}: confidence {first.confidence:.2f}, {first.without:.2f} without its"
        f" {first.items} articles (mean {first.mean:+.2f}): tape explain {first.signal_id}"
    )


def _tiers(accounts: Sequence[AccountTold]) -> Table:
    """A column per account: from its signals to its positions."""
    table = _table("Accounts", "", *(f"{account.account_id} (tier {account.tier})" for account in accounts))
    rows: dict[str, list[str]] = {
        "signals": [str(account.signals) for account in accounts],
        "proposals": [_reasons(list(account.verdicts.items())) for account in accounts],
        "not approved": [_reasons(list(account.reasons.items())[:_SHOWN]) for account in accounts],
        "orders": [_reasons(Counter(o.state for o in account.orders).most_common()) for account in accounts],
        "executions": [str(account.executions) for account in accounts],
        "positions": [
            "\n".join(f"{qty} {instrument}" for instrument, qty in account.positions.items()) or "none"
            for account in accounts
        ],
        "closed by": [_reasons(list(account.exits.items())) for account in accounts],
        "P&L, fees off": ["unknown" if a.pnl is None else f"{Decimal(a.pnl):,.2f} USD" for a in accounts],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _orders(accounts: Sequence[AccountTold]) -> Table:
    table = _table("Orders", "account", "order", "limit", "state", "filled", "average")
    for account in accounts:
        for order in account.orders:
            table.add_row(
                account.account_id,
                f"{order.side} {order.qty} {order.instrument}",
                order.limit_price or "-",
                order.state if order.reason is None else f"{order.state} {order.reason}",
                order.filled_qty,
                order.filled_avg_price or "-",
            )
    return table


def _synthetic(console: Console, summary: Summary) -> None:
    console.print("[bold]What is synthetic[/bold]")
    for name, origins in summary.synthetic.items():
        told = ", ".join(
            f"{count} {'synthetic' if is_synthetic(origin) else 'recorded'} ({origin})"
            for origin, count in origins.items()
        )
        console.print(f"  {name}: {told or 'no records'}")
    console.print(
        "  every order and fill: from the paper exchange on this machine; no order left the machine"
    )
    for note in summary.tape["notes"]:
        console.print(f"  note: {escape(note)}")
    console.print()


def _topics(summary: Summary) -> Table:
    table = _table("Topics and their tables", "topic", "records", "different events", "rows in Postgres")
    for name, events in summary.events.items():
        rows = summary.rows.get(name)
        shown = str(rows) if rows == events else f"[red]{rows}[/red]"
        table.add_row(name, str(summary.records[name]), str(events), shown)
    return table


def _digests(summary: Summary) -> Table:
    table = _table("Digests, live and rebuilt from the topics", "stage", "of", "count", "live", "rebuilt")
    for line in summary.digests:
        colour = "green" if line.agrees else "red"
        table.add_row(
            line.stage,
            line.what,
            str(line.records),
            line.live[:_DIGEST_SHOWN],
            f"[{colour}]{(line.rebuilt or '-')[:_DIGEST_SHOWN]}[/{colour}]",
        )
    return table


def _next_steps(console: Console, summary: Summary, folder: Path, kept: bool) -> None:
    tape, home = _command(), _relative(folder)
    console.print("[bold]What to look at next[/bold]")
    console.print(f"  {home / SUMMARY} has all of this; the logs are in {home / 'logs'}")
    if kept:
        console.print("  the stack runs until Ctrl-C; in another terminal:")
    else:
        console.print(
            f"  the stack is stopped and its data kept; start it with {tape} up --name {folder.name}"
        )
        console.print("  then, in another terminal:")
    console.print(f"    export TAPE_HOME={home}")
    for command in commands(summary):
        console.print(f"    {tape} {escape(command)}")
    console.print(f"  {tape} down --purge --name {folder.name} removes it all\n")


def _verdict(console: Console, summary: Summary) -> None:
    for failure in summary.failures:
        console.print(f"[bold red]FAILED[/bold red] {escape(failure)}")
    if not summary.failures:
        console.print(
            "[bold green]OK[/bold green] every table has the rows of its topic, the funnel adds up, nothing"
            " was refused, and the rebuild from the topics equals what ran live"
        )


def _command() -> str:
    """How to run this program from here."""
    called = Path(sys.argv[0])
    found = shutil.which("tape")
    return "tape" if found and called.exists() and called.samefile(found) else str(_relative(called))


def _relative(path: Path) -> Path:
    try:
        return path.absolute().relative_to(Path.cwd())
    except ValueError:
        return path
