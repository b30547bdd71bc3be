"""Traces over the recorded morning: from the bar to the fill, the same in each run, whole after a restart."""

from collections import defaultdict
from collections.abc import Callable
from functools import cache

import pytest

from tapedeck.connectors.otlp import Span
from tapedeck.schemas.errors import Retry
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sim.crash import Fuse
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import event_id_in, trace_of
from tapedeck.tape.explain.lookup import Found, Lookup
from tapedeck.tape.explain.roots import NoSuchRecord
from tapedeck.tape.explain.tree import named_inputs
from tapedeck.tape.sim.simulation import Simulation
from tapedeck.tape.trace.asked import traces_at, traces_of
from tapedeck.tape.trace.follow import SETTLE_US, Follower
from tapedeck.tape.trace.hops import Hop, Times, Trace
from tapedeck.tape.trace.show import as_dict, text
from tapedeck.tape.trace.spans import spans_of
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.paths import CONFIG, INBOX, account_task, bodies, copied, cut, morning
from tests.support.sim_tapes import small_tape

TOPICS = [each.name for each in CATALOGUE if each.schema and each.name != "quotes"]
"""Quotes are most of the records, and in no trace."""
YEAR_US = 365 * 24 * 60 * MINUTE_US


@cache
def recorded() -> tuple[Message, ...]:
    log = morning().log
    return tuple(m for name in TOPICS for m in log.messages(name))


@cache
def plain() -> MemorySource:
    return MemorySource(Layout(), recorded())


def source(change: Callable[[Message], Message | None]) -> MemorySource:
    """The morning's topics, each record changed, or left out where ``change`` gives None."""
    return MemorySource(Layout(), [new for m in recorded() if (new := change(m)) is not None])


def orders() -> list[dict[str, object]]:
    return [body for body in bodies(morning().log, "orders") if body["state"] == "FILLED"]


def traced(asked: str, log: MemorySource | None = None) -> Trace:
    (trace,) = traces_of(TOPOLOGY, Lookup(log or plain()), asked)
    return trace


def way_up(trace: Trace, hop: Hop) -> list[str]:
    """The topics from ``hop`` up to the first one."""
    by_id = {each.event_id: each for each in trace.hops}
    path = [hop]
    while path[-1].parent is not None:
        path.append(by_id[path[-1].parent])
    return [each.found.topic for each in path]


def without(message: Message, *names: str) -> Message:
    return message._replace(headers=[(name, c) for name, c in message.headers if name not in names])


def produced_at(offset_us: int) -> Callable[[Message], Message]:
    """Records as a run produced them: each topic a tenth of a second after the one before it."""
    ranks = {each.name: place for place, each in enumerate(CATALOGUE)}

    def change(message: Message) -> Message:
        if message.value is None:
            return message
        told = message.timestamp * 1000 + 100_000 * (1 + ranks[message.topic]) + offset_us
        kept = without(message, "tape-ingest-time")
        return kept._replace(headers=[*kept.headers, ("tape-ingest-time", str(told).encode())])

    return change


def test_the_trace_of_an_order_goes_from_its_bar_through_every_stage_to_the_fill() -> None:
    assert len(orders()) >= 2
    for order in orders():
        trace = traced(str(order["client_order_id"]))
        first, fill = trace.hops[0], next(h for h in trace.hops if h.found.topic == "executions")
        assert (first.found.topic, first.parent) == ("bars", None)
        way = way_up(trace, fill)
        assert (way[:3], way[-5:]) == (
            ["executions", "account_inbox", "orders"],
            ["account_inbox", "account_inbox", "signals", "features", "bars"],
        ), "between them are the steps of the order, if it had several"
        assert "proposals" in {hop.found.topic for hop in trace.hops}
        assert {h.found.body.get("account_id") for h in trace.hops} == {None, order["account_id"]}
        assert {h.found.body["state"] for h in trace.hops if h.found.topic == "orders"} >= {
            "INTENT",
            "FILLED",
        }
        assert "decisions" in {h.found.topic for h in trace.hops}
        assert trace.notes == ()


def test_the_headers_of_all_hops_have_the_trace_id_which_is_the_bars_event_id() -> None:
    trace = traced(str(orders()[0]["client_order_id"]))
    assert trace.trace_id == trace.hops[0].event_id
    for hop in trace.hops:
        assert trace_of(hop.found.message) == trace.trace_id
        told = hop.found.header("traceparent")
        assert told == "" if hop.parent is None else told == f"00-{trace.trace_id}-{hop.span_id}-01"


def test_every_parent_is_there_before_its_hop_and_no_duration_is_negative() -> None:
    for log in (plain(), source(produced_at(0)), source(produced_at(YEAR_US))):
        trace = traced(str(orders()[0]["client_order_id"]), log)
        seen: set[str] = set()
        for hop in trace.hops:
            assert hop.parent is None or hop.parent in seen
            assert hop.start_us <= hop.end_us
            seen.add(hop.event_id)
        assert len(trace.hops) == len(seen) > 15
        assert trace.seconds > 1


def test_a_hop_lasts_from_the_record_before_it_to_its_own() -> None:
    trace = traced(str(orders()[0]["client_order_id"]), source(produced_at(0)))
    bar, feature = trace.hops[0], trace.hops[1]
    assert trace.times is Times.RUN
    assert bar.start_us == bar.found.body["event_time"], "a live bar starts at the end of its minute"
    assert bar.seconds == pytest.approx(0.1)
    assert (feature.found.topic, feature.start_us) == ("features", bar.end_us)
    assert feature.seconds > 0


def test_a_tape_played_later_does_not_begin_at_the_time_of_its_bars() -> None:
    trace = traced(str(orders()[0]["client_order_id"]), source(produced_at(YEAR_US)))
    assert trace.hops[0].start_us - trace.hops[0].found.body["event_time"] > YEAR_US
    assert trace.seconds < 60


def test_sources_that_do_not_say_when_they_were_produced_end_when_the_next_step_does() -> None:
    change = produced_at(0)
    log = source(lambda m: m if m.topic in ("bars", INBOX) else change(m))
    trace = traced(str(orders()[0]["client_order_id"]), log)
    assert trace.times is Times.RUN
    assert trace.hops[0].end_us == trace.hops[1].end_us
    assert trace.hops[0].seconds > 0


def test_any_record_of_a_trace_and_its_minute_give_the_trace_of_all_accounts() -> None:
    order = traced(str(orders()[0]["client_order_id"]))
    signal = next(hop for hop in order.hops if hop.found.topic == "signals")
    whole = traced(order.trace_id)
    assert {hop.event_id for hop in order.hops} <= {hop.event_id for hop in whole.hops}
    assert whole.hops == traced(signal.event_id).hops
    accounts = {hop.found.body.get("account_id") for hop in whole.hops}
    assert len(accounts) == 3, "none, large and tiny"
    symbol, t = str(signal.found.body["symbol"]), int(signal.found.body["bar_t"])
    (at,) = traces_at(TOPOLOGY, Lookup(plain()), symbol, t + 7_000_000)
    assert at.hops == whole.hops


def test_a_minute_without_a_signal_ends_with_its_decision_and_links_what_it_joined() -> None:
    hold = [body for body in bodies(morning().log, "decisions") if body["action"] == "HOLD"][-1]
    trace = traced(str(hold["event_id"]))
    assert [hop.found.topic for hop in trace.hops] == ["bars", "features", "decisions"]
    links = {link.found.topic: link.trace_id for link in trace.hops[-1].links}
    assert "memberships" in links and trace.trace_id not in links.values()


def test_two_runs_and_a_replay_of_an_inbox_give_the_same_traces() -> None:
    def contexts(log: MemoryLog) -> dict[str, str | None]:
        messages = [m for name in TOPICS for m in log.messages(name) if m.value]
        return {str(event_id_in(m.value)): trace_of(m) for m in messages}

    live = contexts(morning().log)
    short = contexts(Simulation(TOPOLOGY, cut(small_tape(), slice(3)), CONFIG).play().log)
    assert len(short) > 100
    assert short == {event_id: live.get(event_id) for event_id in short}

    order = orders()[0]
    log = copied(morning().log, INBOX)
    task = account_task(log, str(order["account_id"]))
    while task.step(1000, Fuse()) or not task.idle():
        task.poll(1000)
    again = contexts(log)
    assert again == {event_id: live[event_id] for event_id in again}
    assert any(body["state"] == "FILLED" for body in bodies(log, "orders"))


def test_a_source_older_than_its_topic_keeps_is_said_and_the_rest_is_shown() -> None:
    whole = traced(str(orders()[0]["client_order_id"]))
    bar = whole.hops[0].found.message
    log = source(
        lambda m: None if m.topic == "bars" and m.partition == bar.partition and m.offset <= bar.offset else m
    )
    trace = traced(str(orders()[0]["client_order_id"]), log)
    assert trace.trace_id == whole.trace_id
    assert [hop.event_id for hop in trace.hops] == [hop.event_id for hop in whole.hops[1:]]
    (note,) = trace.notes
    assert f"bars/{bar.partition}@{bar.offset}" in note and "older than its topic keeps" in note
    assert note in text(TOPOLOGY, trace)


def test_another_record_at_the_place_of_the_cause_is_not_taken_for_it() -> None:
    whole = traced(str(orders()[0]["client_order_id"]))
    bar = whole.hops[0].found.message
    other = next(m for m in recorded() if m.topic == "bars" and m.value and m.value != bar.value)
    log = source(lambda m: m._replace(value=other.value) if m == bar else m)
    trace = traced(str(orders()[0]["client_order_id"]), log)
    assert [hop.event_id for hop in trace.hops] == [hop.event_id for hop in whole.hops[1:]]
    assert "another record" in trace.notes[0]


def test_fills_heard_after_a_restart_are_in_the_trace_of_their_order() -> None:
    """A dispatcher that was started again does not know which signal an order came of."""
    order = orders()[0]
    whole = traced(str(order["client_order_id"]))
    fill = next(hop for hop in whole.hops if hop.found.topic == "executions")
    heard = next(hop for hop in whole.hops if hop.event_id == fill.parent)
    own = f"00-{heard.event_id}-{heard.span_id}-01".encode()

    def forgotten(message: Message) -> Message:
        if message == heard.found.message:
            return without(message, "tape-cause", "traceparent")
        if message.topic != INBOX and dict(message.headers).get("tape-cause") == heard.found.place.encode():
            return without(message, "traceparent")._replace(
                headers=[*without(message, "traceparent").headers, ("traceparent", own)]
            )
        return message

    log = source(forgotten)
    for asked in (str(order["client_order_id"]), fill.event_id):
        trace = traced(asked, log)
        assert {hop.event_id for hop in trace.hops} == {hop.event_id for hop in whole.hops}
        assert trace.trace_id == whole.trace_id


def test_a_halt_in_an_inbox_names_a_market_event() -> None:
    halt = {"account_id": "large", "payload": ("tapedeck.InboxHalt", {"market_event_id": "a" * 32})}
    found = Found(Message(INBOX, 0, 0, 0, b"large", b"", ()), halt)
    assert named_inputs(TOPOLOGY, found) == {"a" * 32: ("market_events",)}


def test_an_id_and_a_minute_that_do_not_exist_are_named() -> None:
    with pytest.raises(NoSuchRecord, match="the nearest is"):
        traced(str(orders()[0]["client_order_id"])[:-1] + "x")
    with pytest.raises(NoSuchRecord, match=r"bars has no record.*NOPE.*tape why NOPE"):
        traces_at(TOPOLOGY, Lookup(plain()), "NOPE", 60 * MINUTE_US)


def test_the_tree_and_the_document_show_each_hop_with_start_and_duration() -> None:
    trace = traced(str(orders()[0]["client_order_id"]), source(produced_at(0)))
    shown = text(TOPOLOGY, trace).splitlines()
    assert shown[0].startswith(f"trace {trace.trace_id}: {len(trace.hops)} hops in ")
    assert len(shown) == 4 + len(trace.hops)
    assert shown[4].split()[:5] == ["+0.000", "s", "0.100", "s", "bars"]
    assert "└── " in shown[5] and "(with memberships" in "\n".join(shown)
    told = as_dict(TOPOLOGY, trace)
    assert [each["event_id"] for each in told["hops"]] == [hop.event_id for hop in trace.hops]
    assert told["hops"][0]["label"] == iso_time(int(trace.hops[0].found.body["t"]))


def test_spans_have_the_ids_of_the_headers_and_a_service_for_each_stage() -> None:
    trace = traced(str(orders()[0]["client_order_id"]))
    spans = spans_of(TOPOLOGY, Layout("p"), trace)
    assert [span.span_id for span in spans] == [hop.event_id[:16] for hop in trace.hops]
    assert {span.parent_id for span in spans} - {""} <= {span.span_id for span in spans}
    assert {"features", "signals", "account"} <= {span.service for span in spans}
    decision = next(span for span in spans if span.name == "send decisions")
    assert decision.attributes["messaging.destination.name"] == "p.decisions"
    assert decision.attributes["messaging.system"] == "kafka"
    assert len(decision.links) == 2


def test_a_bar_of_a_program_that_knows_of_traces_goes_on_in_its_trace() -> None:
    whole = traced(str(orders()[0]["client_order_id"]))
    theirs = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    bar = whole.hops[0].found.message
    log = source(lambda m: m._replace(headers=[("traceparent", theirs)]) if m == bar else m)
    trace = traced(whole.hops[0].event_id, log)
    span = spans_of(TOPOLOGY, Layout(), trace)[0]
    assert (span.trace_id, span.parent_id) == ("a" * 32, "b" * 16)


class Collected:
    """A collector: what it was sent; ``away`` makes it refuse."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.away = False

    def __call__(self, spans: list[Span]) -> None:
        if self.away:
            raise Retry("away")
        self.spans += spans


def grown(until: dict[str, int]) -> MemorySource:
    """The morning with only the first records of some topics."""
    return source(lambda m: m if m.offset < until.get(m.topic, 10**9) else None)


def test_following_sends_each_new_order_once_after_it_settled_and_no_old_one() -> None:
    collected = Collected()
    follower = Follower(TOPOLOGY, collected, ratio=0)
    before = grown({"orders": 0, "executions": 0})
    assert follower.look(plain(), 0) == 0 and follower.look(plain(), SETTLE_US) == 0, "nothing is new"

    follower = Follower(TOPOLOGY, collected, ratio=0)
    follower.look(before, 0)
    assert follower.look(plain(), 1) == 0
    assert follower.waiting == len({body["client_order_id"] for body in bodies(morning().log, "orders")})
    collected.away = True
    with pytest.raises(Retry):
        follower.look(plain(), 1 + SETTLE_US)
    assert follower.waiting > 0, "what was not sent waits"
    collected.away = False
    assert follower.look(plain(), 2 + SETTLE_US) == len(collected.spans) > 0
    assert follower.look(plain(), 9 * SETTLE_US) == 0 and follower.waiting == 0
    ids = [span.span_id for span in collected.spans]
    assert len(ids) == len(set(ids)), "two accounts share a signal, which is sent once"
    fills = {m for m in ids if m in {str(b["event_id"])[:16] for b in bodies(morning().log, "executions")}}
    assert fills


def test_following_sends_a_sample_of_the_minutes_by_trace_id() -> None:
    counts = defaultdict(int)
    for ratio in (0.0, 0.1, 1.0):
        collected = Collected()
        follower = Follower(TOPOLOGY, collected, ratio=ratio)
        follower.look(grown({"decisions": 700, "orders": 10**6}), 0)
        follower.look(grown({"decisions": 740}), 1)
        counts[ratio] = follower.waiting
    assert counts[0.0] == 0 < counts[0.1] < counts[1.0]
