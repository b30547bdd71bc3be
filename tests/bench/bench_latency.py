"""Bar to decision, bar to accepted order and signal to accepted order, of minutes of 28 symbols.

    python -m tests.bench.bench_latency [--accounts 3] [--signals 5] [--minutes 200]

The stack runs as `tape up` starts it, without the sink: features; scores, watchlist and signals; a
dispatcher for each account; the paper exchange. A minute of a synthetic session is a burst of bars, quotes
and watermarks; the next one comes when everything of it is done, and not within half a second. The clock of
a minute starts before its first record is sent. It stops for features and decisions when a consumer of this
process has the minute's last in hand, and for an order when the exchange has accepted it, by the exchange's
own log.

Signals are planted by volume: the configuration lets no bar without four times its usual volume act, and in
each second minute some symbols have ten times their volume. They trade options, so their orders wait for a
quote and a chain; positions are closed in the minutes between. The exchange makes a symbol's chain when it is
first asked for, which is done before. The router collects a minute's signals until the
minute's watermark, and waits no fixed time.
"""

import argparse
import gc
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tapedeck.connectors.kafka.acls import SCORER
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.paper.remote import RemoteExchange
from tapedeck.connectors.tapes.generator import DEFAULT_SEED, generate
from tapedeck.connectors.tapes.marks import Follower, last_watermarks, optional_inputs
from tapedeck.connectors.tapes.player import PLAYED, LastWatermarks, Pace, Player
from tapedeck.connectors.tapes.tape import Minute, Tape
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.config.examples import example_account
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import Origin
from tapedeck.tape.local import plan
from tapedeck.tape.local.stack import LocalStack
from tapedeck.tape.local.supervisor import Worker
from tests.bench import order_times
from tests.bench.order_times import Way
from tests.bench.report import Row, Table, machine, percentile
from tests.bench.watching import Seen, Watch, now_s

FIRST, WARM_UP = 60, 10
HISTORY = 150
DECISION_MS, ORDER_MS, AFTER_MS = 60.0, 100.0, 60.0
ACCOUNTS = ("large", "medium", "small", "tiny")
PREFIX = "latency"
NEWS = ("news", SCORER)
"""The local stack's processes of news."""
WATCHED = ("features", "decisions", *order_times.TOPICS)
_TURN, _HELD_MIN = 2, 11
"""Every second minute has signals. What they open is closed in a minute that has none, by its age, and gone
when the turn of its symbol comes again.
"""


class Size(NamedTuple):
    """How many minutes are measured and their least distance; each second one has ``signals`` signals."""

    minutes: int
    burst_s: float
    accounts: int = 1
    signals: int = 1


FULL = Size(200, 0.5)
SHORT = Size(10, 0.5)


def config(accounts: int = 1) -> Config:
    """Every stock is on the watchlist and only a planted bar acts; limits that no planted order meets."""
    limits = {
        "max_positions": 28, "max_pending_orders": 1000, "max_exposure": 100_000_000,
        "max_daily_loss": 10_000_000, "confidence_threshold": 0.0, "ticker_cooldown_minutes": 1,
        "max_trades_per_ticker_per_day": 1000, "risk_day": "0.0001",
    }  # fmt: skip
    documents = [
        example_account(name, "large").model_dump(mode="python") | limits for name in ACCOUNTS[:accounts]
    ]
    return from_dict(
        {
            "watchlist": {"enter": 0.02, "exit": 0.01, "backfill_min": 0.01, "backfill_to": 28},
            "signal": {
                "day_min": 0.0,
                "day_cap": 0.0,
                "day_slope": 0.0,
                "max_vol_ratio": 1000.0,
                "cooldown_min": 1,
                "stretch": 0.5,
                "volume_steps": [4.0],
                "volume_factors": [1.0],
            },
            "exit": {"max_hold_min": _HELD_MIN},
            "accounts": documents,
        }
    )


def planted(minutes: int, signals: int = 1) -> Tape:
    """``minutes`` of the synthetic session; each second has ``signals`` bars of ten times their volume."""
    whole = generate(DEFAULT_SEED)
    names = sorted(whole.symbols)
    chosen = []
    for number, minute in enumerate(whole.minutes[FIRST : FIRST + minutes]):
        turn, rest = divmod(number, _TURN)
        acts = {
            (names[(turn * signals + each) % len(names)], minute.label)
            for each in range(signals if rest == 0 else 0)
        }
        bars = tuple(
            bar | {"volume": bar["volume"] * (10 if (bar["symbol"], bar["t"]) in acts else 1)}
            for bar in minute.bars
        )
        chosen.append(Minute(minute.label, bars, minute.quotes))
    before = [bar for name in names for bar in _newest(whole, name)]
    return replace(whole, minutes=tuple(chosen), history=tuple(before))


def _newest(tape: Tape, name: str) -> list[dict[str, Any]]:
    return [bar for bar in tape.history if bar["symbol"] == name][-HISTORY:]


class Latencies(NamedTuple):
    """Milliseconds from the start of a minute: to its last feature, to its last decision, to each order.

    ``ways`` has what each order took from its signal on.
    """

    features: list[float]
    decisions: list[float]
    orders: list[float]
    ways: list[Way]


def evaluate(tape: Tape, sent: dict[int, float], seen: list[Seen], found: list[Way]) -> Latencies:
    """What the arrivals say about the minutes in ``sent``, and the orders ``found`` of them."""
    arrived: dict[tuple[str, int, str], float] = {}
    for each in seen:
        if each.topic in ("features", "decisions"):
            body = decode(each.topic, each.value)
            t = body["t" if each.topic == "features" else "bar_t"]
            arrived.setdefault((each.topic, t, body["symbol"]), each.at)
    on_time = {minute.label: [b["symbol"] for b in minute.bars if b["t"] == minute.label] for minute in tape}

    def last(name: str) -> list[float]:
        return [
            1e3 * (max(arrived[name, label, symbol] for symbol in on_time[label]) - start)
            for label, start in sent.items()
        ]

    ways = [way for way in found if way.bar_t in sent]
    orders = [1e3 * (way.accepted_at - sent[way.bar_t]) for way in ways]
    return Latencies(last("features"), last("decisions"), orders, ways)


def workers(settled: Config, left_out: tuple[str, ...] = ("sink",)) -> tuple[Worker, ...]:
    """The local stack's processes without the sink; the exchange gives each account enough cash."""
    cash = [word for each in settled.accounts for word in ("--cash", f"{each.account_id}=100000000")]
    return tuple(
        replace(worker, argv=(*worker.argv, *cash)) if worker.name == "exchange" else worker
        for worker in plan.workers(TOPOLOGY, settled)
        if worker.name not in left_out
    )


def marked(news: bool) -> tuple[str, ...]:
    """The topics whose watermarks are waited for."""
    return tuple(
        name
        for name in TOPOLOGY.marked
        if news or (TOPOLOGY.root(spec) if (spec := TOPOLOGY.writer(name)) else name) == "bars"
    )


def play(local: LocalStack, size: Size, *, news: bool) -> Latencies:
    """Play a warm-up, then the minutes that are measured, into a running stack."""
    absent = {} if news else {"absent_after_s": 0.0}
    tape, sent = planted(WARM_UP + size.minutes, size.signals), dict[int, float]()
    move = RemoteExchange(local.exchange_url).advance
    measured = {minute.label for minute in tape.minutes[WARM_UP:]}

    def start(label: int) -> None:
        move(label)
        if label == tape.minutes[WARM_UP - 1].label:
            order_times.make_chains(local.exchange_url, f"paper-{ACCOUNTS[0]}", tape.symbols)
        if label in measured:
            sent[label] = now_s()

    def step(label: int) -> None:
        follower.wait_for(label)
        if label in sent:
            time.sleep(max(0.0, sent[label] + size.burst_s - now_s()))

    def marks() -> LastWatermarks:
        return last_watermarks(local.cluster, PLAYED)

    stages = tuple(f"dispatch-{name}" for name in ACCOUNTS[: size.accounts])
    with (
        KafkaLogWriter(local.cluster, Origin("bench", "0", "")) as writer,
        Follower(local.cluster, marked(news), stages=stages) as follower,
        optional_inputs(local.cluster, TOPOLOGY.optional, **absent) as optional,
        Watch(local.cluster, WATCHED) as watch,
    ):
        gc.freeze()  # as the workers do: a full collection here would be counted as theirs
        Player(tape, writer, Pace(None), before_minute=start, wait_for=step, optional=optional).play(marks)
    gc.unfreeze()
    found = order_times.ways(watch.seen, order_times.calls_of(local.exchange_url))
    return evaluate(tape, sent, watch.seen, found)


def measure(size: Size = FULL, *, news: bool = True) -> Table:
    """Start a stack, play, stop it. Raises Fatal, quoting the log, for a worker that ended.

    Without ``news``, its stages do not run, and every minute says at once that they are absent.
    """
    planned = workers if news else partial(workers, left_out=("sink", *NEWS))
    with tempfile.TemporaryDirectory(prefix="bench-latency-") as name:
        document = Path(name) / "tape.toml"
        document.write_text(config(size.accounts).to_toml())
        with LocalStack(Path(name) / "stack", config=document, prefix=PREFIX, workers=planned) as local:
            found = play(local, size, news=news)
            local.watch()
    ways = found.ways
    rows = [
        *_rows("minute to its last feature", found.features, None),
        *_rows("minute to its last decision", found.decisions, DECISION_MS),
        *_rows("minute to accepted order", found.orders, ORDER_MS),
        *_rows("signal to accepted order", [way.whole for way in ways], None),
        *_rows("  after collection", [way.after_collection for way in ways], AFTER_MS),
        *(_part(name, [getattr(way, name) for way in ways]) for name in order_times.PARTS),
    ]
    each = f"in each second one, signals of {size.signals} symbols go to {size.accounts} accounts"
    return Table(
        f"latency of a 28-symbol minute through the running stack{'' if news else ', without news'}",
        tuple(rows),
        (
            f"{size.minutes} minutes, {size.burst_s:g} s apart or more: {each}",
            "a signal leaves in the flush of its decision; it is collected until the minute's watermark: the",
            "aim of 200 ms had 100 ms of collecting in it, which is not spent here: it stands as 100 ms",
        ),
    )


def _rows(name: str, values: list[float], aim: float | None) -> list[Row]:
    count = f"{len(values)} of them"
    if not values:
        return [Row(f"{name}, p50", float("nan"), "ms", note=count)]
    p99 = percentile(values, 0.99)
    goal, met = ("", None) if aim is None else (f"{aim:.0f}", p99 <= aim)
    return [
        Row(f"{name}, p50", percentile(values, 0.5), "ms", note=count),
        Row(f"{name}, p99", p99, "ms", goal, met),
    ]


def _part(name: str, values: list[float]) -> Row:
    """The middle of a part, and its p99 beside it."""
    if not values:
        return Row(f"    {name}, p50", float("nan"), "ms")
    return Row(
        f"    {name}, p50", percentile(values, 0.5), "ms", note=f"p99 {percentile(values, 0.99):.1f} ms"
    )


def main() -> None:
    """Measure and print: twice with news and twice without, in turn, for what the join costs."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_latency", description=__doc__)
    parser.add_argument("--accounts", type=int, default=FULL.accounts, choices=range(1, 5))
    parser.add_argument("--signals", type=int, default=FULL.signals, help="signals in each minute")
    parser.add_argument("--minutes", type=int, default=FULL.minutes, help="at most 200: later nothing opens")
    parser.add_argument("--once", action="store_true", help="once, with news")
    told = parser.parse_args()
    print(machine(), flush=True)
    size = Size(told.minutes, FULL.burst_s, told.accounts, told.signals)
    for news in (True,) if told.once else (True, False, True, False):
        print(measure(size, news=news), flush=True)


if __name__ == "__main__":
    main()
