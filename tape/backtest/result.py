"""What a backtest found: figures per account, strategy and exit reason, sessions, funnel, and warnings."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from tapedeck.connectors.paper.fills import Fees
from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import RULES_VERSION
from tapedeck.streams.sessions import Calendar, iso_date
from tapedeck.tape.backtest import measures
from tapedeck.tape.backtest.account import AccountRecord, Sample
from tapedeck.tape.backtest.measures import Drawdown, Interval
from tapedeck.tape.backtest.run import Plan, Ran, Session
from tapedeck.tape.backtest.trades import Trade, trades_of

ZERO = Decimal(0)
FILL_MODEL = (
    "an order that crosses the spread fills at once at the other side; one between mid and the other side "
    "at its own limit after a seeded delay, 15 % of the tries not at all, 25 % in parts; one behind mid when "
    "the market moves there. Never better than the quote, no market impact, no queue."
)


class Stats(NamedTuple):
    """Closed trades of one group. Money in USD after fees unless it says gross."""

    trades: int
    net: Decimal
    gross: Decimal
    fees: Decimal
    hit_rate: Interval | None
    expectancy: Interval | None
    average_win: float | None
    average_loss: float | None
    profit_factor: float | None
    held_min: float | None
    unknown: int
    """Trades that nobody knows a price of: they count in none of the above."""


class Group(NamedTuple):
    """The trades of one account with one strategy and one exit reason; STILL_OPEN ones are at mid."""

    account_id: str
    strategy: str
    exit_reason: str
    stats: Stats


class SessionPnl(NamedTuple):
    """One account in one session: equity at its close, what that changed by, and what it did.

    ``exposure``: the largest gross market value at a sample; ``traded``: quantity x price x multiplier.
    """

    account_id: str
    date: int
    equity: Decimal
    pnl: Decimal
    gain: float
    exposure: Decimal
    executions: int
    traded: Decimal
    fees: Decimal
    opened: int
    closed: int


class Summary(NamedTuple):
    """One account over the whole run. Shares are fractions; None where a figure says nothing."""

    account_id: str
    tier: str
    start: Decimal
    end: Decimal
    net: Decimal
    gain: float
    fees: Decimal
    closed: Stats
    still_open: int
    unrealised: Decimal
    drawdown: Drawdown | None
    drawdown_from: int | None
    drawdown_to: int | None
    sharpe: float | None
    sortino: float | None
    exposure_mean: float
    exposure_most: float
    time_in_market: float
    turnover: float
    """What was traded, over the mean equity."""
    unexplained: Decimal
    """Change of equity at the exchange that the trades do not explain: 0.00, or something is wrong."""


class FunnelRow(NamedTuple):
    """How many ``units`` left one step for ``reason``; the step before is what they come from."""

    account_id: str
    step: str
    reason: str
    units: int


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """A run and its figures. ``took_s``: seconds, of this machine. ``digests``: by topic, for proofs."""

    tape: str
    config: Config
    plan: Plan
    sessions: tuple[Session, ...]
    summaries: tuple[Summary, ...]
    groups: tuple[Group, ...]
    days: tuple[SessionPnl, ...]
    trades: tuple[Trade, ...]
    samples: dict[str, tuple[Sample, ...]]
    ran: Ran
    funnel: tuple[FunnelRow, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    digests: dict[str, str]
    took_s: float

    @property
    def bars(self) -> int:
        return sum(each.bars for each in self.sessions)

    @property
    def first(self) -> str:
        """The first session, ISO."""
        return str(iso_date(self.sessions[0].date))

    @property
    def last(self) -> str:
        """The last session, ISO."""
        return str(iso_date(self.sessions[-1].date))

    @property
    def rules(self) -> str:
        """Under which rules and configuration it was decided."""
        return f"{RULES_VERSION}, configuration {self.config.digest}"

    def summary(self, account_id: str) -> Summary:
        """The figures of one account."""
        return next(each for each in self.summaries if each.account_id == account_id)


def result_of(
    ran: Ran, plan: Plan, config: Config, calendar: Calendar, *, tape: str, took_s: float
) -> Backtest:
    """The figures of a run."""
    trades = {each.account_id: trades_of(each, calendar) for each in ran.accounts}
    days = {each.account_id: list(_days(each, trades[each.account_id], calendar)) for each in ran.accounts}
    digests = {name: rows.hexdigest() for name, rows in ran.decided.rows.items()}
    for each in ran.accounts:
        digests |= {f"{each.account_id} {name}": digest for name, digest in each.digests.items()}
    return Backtest(
        tape=tape,
        config=config,
        plan=plan,
        sessions=ran.sessions,
        summaries=tuple(
            _summary(each, trades[each.account_id], days[each.account_id]) for each in ran.accounts
        ),
        groups=tuple(group for each in ran.accounts for group in _groups(trades[each.account_id])),
        days=tuple(day for each in ran.accounts for day in days[each.account_id]),
        trades=tuple(trade for each in ran.accounts for trade in trades[each.account_id]),
        samples={each.account_id: tuple(each.samples) for each in ran.accounts},
        ran=ran,
        funnel=tuple(_funnel(ran, trades)),
        warnings=tuple(_warnings(ran.sessions)),
        notes=tuple(dict.fromkeys(note for each in ran.sessions for note in each.notes)),
        digests=digests,
        took_s=took_s,
    )


def stats_of(trades: Iterable[Trade]) -> Stats:
    """The figures of some trades, open ones at mid."""
    every = list(trades)
    known = [each for each in every if each.net is not None]
    nets = [float(each.net or 0) for each in known]
    won, lost = [net for net in nets if net > 0], [net for net in nets if net <= 0]
    held = [each.held_min for each in known if each.held_min is not None]
    return Stats(
        trades=len(known),
        net=sum((each.net or ZERO for each in known), ZERO),
        gross=sum((each.gross or ZERO for each in known), ZERO),
        fees=sum((each.fees for each in known), ZERO),
        hit_rate=measures.share_of(len(won), len(nets)),
        expectancy=measures.mean_of(nets),
        average_win=sum(won) / len(won) if won else None,
        average_loss=sum(lost) / len(lost) if lost else None,
        profit_factor=measures.profit_factor(nets),
        held_min=sum(held) / len(held) if held else None,
        unknown=len(every) - len(known),
    )


def _groups(trades: Sequence[Trade]) -> Iterable[Group]:
    found: dict[tuple[str, str, str], list[Trade]] = defaultdict(list)
    for trade in trades:
        found[trade.account_id, trade.strategy, trade.exit_reason].append(trade)
    return (Group(*key, stats_of(found[key])) for key in sorted(found))


def _days(record: AccountRecord, trades: Sequence[Trade], calendar: Calendar) -> Iterable[SessionPnl]:
    of_date = calendar.session_date
    opened = Counter(of_date(each.opened_at) for each in trades)
    closed = Counter(of_date(each.closed_at) for each in trades if each.closed_at is not None)
    executions, traded, fees = (
        Counter[int](),
        defaultdict[int, Decimal](Decimal),
        defaultdict[int, Decimal](Decimal),
    )
    for each in record.records["executions"]:
        date = of_date(each["event_time"])
        executions[date] += 1
        traded[date] += each["qty"] * (each["price"] or ZERO) * each["multiplier"]
        fees[date] += each["fee"]
    most = defaultdict[int, Decimal](Decimal)
    for sample in record.samples:
        most[sample.date] = max(most[sample.date], sample.exposure)
    before = record.cash
    for sample in record.samples:
        if sample.closes:
            date, change = sample.date, sample.equity - before
            gain = float(change / before) if before else 0.0
            yield SessionPnl(
                record.account_id, date, sample.equity, change, gain, most[date], executions[date],
                traded[date], fees[date], opened[date], closed[date],
            )  # fmt: skip
            before = sample.equity


def _summary(record: AccountRecord, trades: Sequence[Trade], days: Sequence[SessionPnl]) -> Summary:
    equity = [record.cash, *(each.equity for each in record.samples)]
    fall = measures.drawdown([float(each) for each in equity])
    times = [record.samples[0].at if record.samples else 0, *(each.at for each in record.samples)]
    returns = [each.gain for each in days]
    shares = [float(each.exposure / each.equity) for each in record.samples if each.equity]
    end = equity[-1]
    still = [each for each in trades if each.is_open]
    mean_equity = sum(equity, ZERO) / len(equity)
    explained = sum((each.net or ZERO for each in trades), ZERO)
    return Summary(
        account_id=record.account_id,
        tier=record.tier,
        start=record.cash,
        end=end,
        net=end - record.cash,
        gain=float((end - record.cash) / record.cash) if record.cash else 0.0,
        fees=sum((each.fees for each in trades), ZERO),
        closed=stats_of(each for each in trades if not each.is_open),
        still_open=len(still),
        unrealised=sum((each.net or ZERO for each in still), ZERO),
        drawdown=fall,
        drawdown_from=None if fall is None or not fall.usd else times[fall.peak],
        drawdown_to=None if fall is None or not fall.usd else times[fall.trough],
        sharpe=measures.sharpe(returns),
        sortino=measures.sortino(returns),
        exposure_mean=sum(shares) / len(shares) if shares else 0.0,
        exposure_most=max(shares, default=0.0),
        time_in_market=sum(each > 0 for each in shares) / len(shares) if shares else 0.0,
        turnover=float(sum((each.traded for each in days), ZERO) / mean_equity) if mean_equity else 0.0,
        unexplained=(end - record.cash - explained).quantize(Decimal("0.01")),
    )


def _funnel(ran: Ran, trades: dict[str, list[Trade]]) -> Iterable[FunnelRow]:
    reasons = ran.decided.reasons
    yield FunnelRow("", "bars", "", ran.decided.bars)
    yield FunnelRow("", "decisions", "", sum(reasons.values()))
    for (action, reason), count in sorted(reasons.items(), key=lambda each: (-each[1], each[0])):
        yield FunnelRow(
            "",
            "held" if action == "HOLD" else "signals",
            reason if action == "HOLD" else action + " " + reason,
            count,
        )
    for record in ran.accounts:
        name, records = record.account_id, record.records
        yield FunnelRow(name, "proposals", "", len(records["proposals"]))
        verdicts = Counter((each["verdict"], each["primary_reason"]) for each in records["proposals"])
        for (verdict, reason), count in sorted(verdicts.items(), key=lambda each: (-each[1], each[0])):
            yield FunnelRow(name, verdict.lower(), "" if reason == "OK" else reason, count)
        newest = {each["client_order_id"]: each for each in records["orders"]}
        yield FunnelRow(name, "orders", "", len(newest))
        states = Counter((each["purpose"], each["state"]) for each in newest.values())
        for (purpose, state), count in sorted(states.items()):
            yield FunnelRow(name, "orders", f"{purpose} {state}", count)
        mine = trades[name]
        yield FunnelRow(name, "trades", "", len(mine))


def _warnings(sessions: Sequence[Session]) -> Iterable[str]:
    """What must be known before a figure is believed."""
    n = len(sessions)
    words = {
        "bars": "bars are synthetic: nothing here happened",
        "stock quotes": "stock quotes are synthetic: made around each close, so stock fills are a model's",
        "option chains": "option chains are synthetic: premiums and spreads are a model's, so is option P&L",
    }
    for what, said in words.items():
        made = [each for each in sessions if what in each.synthetic]
        if made and len(made) == n:
            yield said
        elif made:
            days = ", ".join(str(iso_date(each.date)) for each in made[:3]) + (", ..." if made[3:] else "")
            yield (
                f"MIXED: {what} are synthetic in {len(made)} of {n} sessions ({days}) and recorded in the "
                "others; trades say which in priced_by"
            )


def fees_in_words(fees: Fees) -> str:
    """The rates that were charged."""
    if not any(fees):
        return "none"
    said = [
        (fees.per_contract, "a contract"),
        (fees.per_contract_sold, "more a contract sold"),
        (fees.per_share, "a share"),
        (fees.per_share_sold, "more a share sold"),
        (fees.per_million_sold, "a million of proceeds"),
    ]
    cap = f", at most {fees.most_per_share_sold:f} by the share" if fees.most_per_share_sold else ""
    return ", ".join(f"{rate:f} {what}" for rate, what in said if rate) + f"{cap}; rounded up to the cent"
