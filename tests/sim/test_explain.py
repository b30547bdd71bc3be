"""``explain`` over the recorded synthetic day: orders come out again, and what was tampered with does not."""

import json
from collections import Counter
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any

import pytest

from tapedeck.schemas.codec import decode, encode
from tapedeck.schemas.errors import TapeError
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US, Message, StageSpec
from tapedeck.streams.sessions import day_number, xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import drain, tasks_of
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import make
from tapedeck.tape.explain.explanation import Explanation, explain_from
from tapedeck.tape.explain.lookup import DAY_US, Lookup, opened
from tapedeck.tape.explain.reevaluate import Reevaluator, Verdict
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.cases import few
from tests.support.paths import CONFIG, bodies, whole_day


def recorded(log: MemoryLog) -> list[Message]:
    return [m for each in CATALOGUE if each.schema for m in log.messages(each.name)]


@cache
def day() -> MemorySource:
    return MemorySource(Layout(), recorded(whole_day().log))


_TOLD = ("orders", "proposals", "signals", "decisions", "features", "scores", "memberships", "watchlist")


@cache
def order_ids() -> tuple[str, ...]:
    return tuple(dict.fromkeys(order["client_order_id"] for order in bodies(whole_day().log, "orders")))


def explained(asked: str, **options: Any) -> Explanation:
    return explain_from(TOPOLOGY, day(), CONFIG, asked, **options)


def changed(name: str, event_id: str, **fields: Any) -> MemorySource:
    """The day with one record's fields changed, its event_id left as it was."""

    def maybe(message: Message) -> Message:
        if message.topic != name or message.value is None:
            return message
        body = decode(name, message.value)
        if body["event_id"] != event_id:
            return message
        return message._replace(value=encode(name, body | fields))

    return MemorySource(Layout(), map(maybe, recorded(whole_day().log)))


def topics_of(found: Iterable[Any]) -> list[str]:
    return [node.found.topic for node in found]


def test_the_day_has_orders_that_open_and_orders_that_close() -> None:
    opened = [each for each in order_ids() if each.startswith("td1-o")]
    assert len(order_ids()) == 11 and len(opened) == 7


@pytest.mark.parametrize("number", few(range(11), 1))
def test_an_order_of_the_day_is_computed_again_to_the_same_verdict(number: int) -> None:
    found = explained(order_ids()[number])
    assert found.verdict is Verdict.SAME, found.text()
    by_topic = {topic: 0 for topic in _TOLD}
    for check in found.checks.values():
        assert check.verdict is Verdict.SAME, check
        by_topic[check.topic] = by_topic.get(check.topic, 0) + 1
    assert min(by_topic.values()) >= 1
    assert "bars" in topics_of(found)


@pytest.mark.parametrize("every", few((20, 1), 1))
def test_lists_and_places_of_the_day_are_computed_again_to_the_same(every: int) -> None:
    """Their own value is told by the lists before."""
    compute_again(TOPOLOGY.stage("watchlist"), every)


@pytest.mark.parametrize("spec", TOPOLOGY.stages, ids=lambda spec: spec.name)
def test_every_kind_of_record_of_the_day_is_computed_again_to_the_same(spec: StageSpec) -> None:
    compute_again(spec, 400)


def compute_again(spec: StageSpec, every: int) -> None:
    lookup, digests = Lookup(day()), Counter[Verdict]()
    evaluator = Reevaluator(TOPOLOGY, lookup, CONFIG, xnys())
    for name in spec.outputs:
        messages = [m for m in whole_day().log.messages(name) if m.value is not None][::every]
        for message in reversed(messages):
            check = evaluator.check(opened(message))
            if check is not None:
                assert check.verdict is Verdict.SAME, check
                digests[check.verdict] += 1
    assert digests[Verdict.SAME] > 0


@pytest.mark.parametrize("every", few((6, 1), 1))
def test_proposals_refused_ones_too_are_computed_again_to_the_same_verdict(every: int) -> None:
    proposals = sorted(bodies(whole_day().log, "proposals"), key=lambda body: str(body["verdict"]))
    chosen = [*proposals[::every], proposals[-1]]
    assert {body["verdict"] for body in chosen} == {"APPROVED", "REFUSED"}
    for body in chosen:
        found = explained(f"{body['account_id']}|{body['signal_id']}")
        assert (found.kind, found.verdict) == ("proposal", Verdict.SAME), found.text()


def test_the_tree_of_an_order_goes_back_to_a_bar_through_every_stage() -> None:
    (node, *_) = explained(order_ids()[0]).roots
    path = [node.found.topic]
    while node.inputs:
        node = node.inputs[0]
        path.append(node.found.topic)
    assert path == ["orders", "proposals", "account_inbox", "signals", "decisions", "features", "bars"]


def test_a_list_of_many_scores_is_folded_but_for_the_symbols_own_and_opened_on_demand() -> None:
    listed = next(node for node in explained(order_ids()[0]) if node.found.topic == "watchlist")
    assert topics_of(listed.inputs) == ["scores"]
    assert {fold.topic: len(fold.event_ids) for fold in listed.folds} == {
        "scores": 11,
        "universe": 1,
        "watchlist": 1,
    }
    opened = explained(order_ids()[0], everything=True, depth=7)
    listed = next(node for node in opened if node.found.topic == "watchlist")
    assert topics_of(listed.inputs).count("scores") == 12 and not listed.folds


def test_a_depth_of_one_shows_the_proposal_only() -> None:
    (first, *_) = explained(order_ids()[0], depth=1).roots
    assert topics_of(first.inputs) == ["proposals"]
    assert first.inputs[0].inputs == [] and first.inputs[0].folds[0].topic == "account_inbox"


def test_a_features_window_says_which_bars_and_revisions_were_in_force() -> None:
    log = whole_day().log
    revision = max((bar for bar in bodies(log, "bars") if bar["revision"] > 0), key=lambda bar: bar["t"])
    feature = next(body for body in bodies(log, "features") if body["inputs"] == [revision["event_id"]])
    found = explained(feature["event_id"])
    window = found.windows[feature["event_id"]]
    assert (window.last_t, window.bars, window.listed) == (feature["t"], 136, feature["bars"])
    assert window.revised[revision["t"]] == revision["revision"]
    assert "136 bars from" in found.text() and f"revision {revision['revision']}" in found.text()


@pytest.mark.parametrize(
    "name, field, value",
    [
        ("proposals", "quantity", Decimal(9)),
        ("proposals", "verdict", "REFUSED"),
        ("features", "sma20", 1.25),
        ("features", "bars", 3),
        ("decisions", "reason", "STRETCHED"),
        ("decisions", "confidence", 0.123),
        ("signals", "action", "BUY_PUT"),
        ("scores", "watch_score", 0.99),
        ("orders", "limit_price", Decimal("1.01")),
        ("memberships", "rank", 3),
        ("memberships", "reason", "STALE"),
        ("watchlist", "members", []),
    ],
)
def test_a_tampered_record_is_different_and_its_field_is_named(name: str, field: str, value: Any) -> None:
    order_id = order_ids()[0]
    target = next(node for node in explained(order_id) if node.found.topic == name)
    found = explain_from(TOPOLOGY, changed(name, target.event_id, **{field: value}), CONFIG, order_id)
    assert found.verdict is Verdict.DIFFERENT
    check = found.checks[target.event_id]
    assert field in [each.field for each in check.differences]
    assert f"DIFFERENT {name} {target.event_id}" in found.text() and f"{field}: recorded" in found.text()


def test_a_changed_input_of_the_account_makes_its_proposal_different() -> None:
    """The proposal is as it was; the account's reading that it was made from is not."""
    order_id = order_ids()[0]
    proposal = next(node for node in explained(order_id) if node.found.topic == "proposals")
    reading = next(node for node in proposal.inputs if node.found.body["payload"][0].endswith("InboxAccount"))
    kind, content = reading.found.body["payload"]
    poor = content | {"equity": Decimal(3000)}
    found = explain_from(
        TOPOLOGY, changed("account_inbox", reading.event_id, payload=(kind, poor)), CONFIG, order_id
    )
    check = found.checks[proposal.event_id]
    assert check.verdict is Verdict.DIFFERENT and "equity" in check.why


def test_another_configuration_is_named_with_both_digests_and_nothing_is_computed() -> None:
    other = Config(accounts=EXAMPLE_ACCOUNTS, signal=CONFIG.signal.model_copy(update={"stretch": 0.03}))
    found = explain_from(TOPOLOGY, day(), other, order_ids()[0])
    assert found.verdict is Verdict.NOT_EVALUATED
    assert {check.verdict for check in found.checks.values()} == {Verdict.NOT_EVALUATED}
    text = found.text()
    assert CONFIG.digest in text and other.digest in text and "--config" in text


def test_ids_of_every_kind_and_their_beginnings_find_the_same_order() -> None:
    order_id = order_ids()[0]
    orders = [body for body in bodies(whole_day().log, "orders") if body["client_order_id"] == order_id]
    broker_id = next(body["broker_order_id"] for body in orders if body["broker_order_id"])
    for asked in (order_id, order_id[:14], broker_id, broker_id[:8], f"  {order_id} "):
        found = explained(asked)
        assert found.kind == "order"
        assert {root.found.body["client_order_id"] for root in found.roots} == {order_id}
    signal = orders[0]["signal_id"]
    assert explained(signal).kind == "signal"
    assert explained(f"large|{signal[:11]}").kind == "proposal"
    assert explained(orders[0]["event_id"][:10]).name == orders[0]["event_id"]


@pytest.mark.parametrize(
    "asked, says",
    [
        ("td1-o00-zzzz", "nearest is td1-o00-"),
        ("sg_000000000000", "nearest is sg_"),
        ("large|sg_00000000", r"nearest is large\|sg_"),
        ("0123456789abcdef0123456789abcdef", "no recorded event has this id"),
        ("sg_1", "at least the first 8"),
        ("tomorrow's order", "this kind of id"),
    ],
)
def test_an_id_that_nothing_has_is_refused_with_the_nearest(asked: str, says: str) -> None:
    with pytest.raises(TapeError, match=says):
        explained(asked)


def test_a_beginning_of_several_ids_lists_them() -> None:
    with pytest.raises(TapeError, match="4 records start like this") as caught:
        explained("td1-o00-")
    assert all(each in str(caught.value) for each in order_ids() if each.startswith("td1-o00-"))


def test_a_close_is_explained_by_its_exit_and_by_the_execution_that_opened() -> None:
    closes = [each for each in order_ids() if each.startswith("td1-c")]
    for order_id in closes:
        topics = topics_of(explained(order_id))
        assert {"exits", "executions", "account_inbox"} <= set(topics), order_id
    assert len(closes) == 4


def test_an_input_that_the_log_does_not_hold_any_more_is_said_to_be_away() -> None:
    kept = [m for m in recorded(whole_day().log) if m.topic != "bars"]
    found = explain_from(TOPOLOGY, MemorySource(Layout(), kept), CONFIG, order_ids()[0])
    assert "is not on the log" in found.text()
    assert found.verdict is Verdict.DIFFERENT, "a feature whose bars are away does not come out again"


def test_the_json_and_the_notebook_form_hold_what_the_text_holds() -> None:
    found = explained(order_ids()[0])
    whole = json.loads(json.dumps(found.as_dict()))
    assert (whole["verdict"], whole["kind"]) == ("SAME", "order")
    first = whole["records"][0]
    assert (first["topic"], first["partition"], first["check"]["verdict"]) == ("orders", 0, "SAME")
    assert first["inputs"][0]["body"]["gates"][0]["gate"] == "account_identity"
    shown = found._repr_html_()
    assert shown.count("<details") == shown.count("</details>") > 10 and found.summary in shown
    assert repr(found) == found.text()


class CountingTape(MemorySource):
    """Counts the records that were read of each topic."""

    def __init__(self, layout: Layout, messages: Iterable[Message]) -> None:
        super().__init__(layout, messages)
        self.read: dict[str, int] = {}

    def stream(self, part: Any, start: int, end: int) -> Any:
        self.read[part[0]] = self.read.get(part[0], 0) + max(end - start, 0)
        return super().stream(part, start, end)


def test_explaining_an_order_reads_its_session_and_not_the_days_around_it() -> None:
    """Two days of the same market stand behind the day in question; none of them is read."""
    messages = recorded(whole_day().log)
    repeated = [m for m in messages if m.topic in ("bars", "features", "decisions")]
    sizes = {(m.topic, m.partition): m.offset + 1 for m in repeated}
    after = [
        m._replace(
            timestamp=m.timestamp + day * DAY_US // 1000,
            offset=m.offset + day * sizes[m.topic, m.partition],
        )
        for day in range(1, 3)
        for m in repeated
    ]
    long = CountingTape(Layout(), [*messages, *after])
    for part in sizes:
        long.offset_at(part, 0)  # the time index is the broker's work
    long.read.clear()
    first = min(bodies(whole_day().log, "orders"), key=lambda order: int(order["event_time"]))
    assert explain_from(TOPOLOGY, long, CONFIG, first["client_order_id"]).verdict is Verdict.SAME
    for name in ("bars", "features", "decisions"):
        size = sum(n for (each, _), n in sizes.items() if each == name)
        assert long.read[name] < 0.4 * size, "of one day, and there are three"


def test_a_record_that_came_long_after_its_time_is_found_by_its_cause() -> None:
    lookup = Lookup(day())
    late = next(
        m
        for m in day_messages("features")
        if m.value is not None and lookup.at(("features", m.partition), m.offset).body["revision"] > 0
    )
    found = lookup.at(("features", late.partition), late.offset)
    inputs = lookup.find(found.body["inputs"], [("bars", late.partition)], 0, found.header("tape-cause"))
    assert list(inputs) == found.body["inputs"]


def day_messages(name: str) -> Iterable[Message]:
    return whole_day().log.messages(name)


def test_a_lookup_reads_each_page_once() -> None:
    tape_ = CountingTape(Layout(), recorded(whole_day().log))
    lookup = Lookup(tape_)
    part = ("bars", 0)
    _, end = lookup.ends(part)
    once = list(lookup.messages(part, 100, end - 5))
    assert [m.offset for m in once] == list(range(100, end - 5))
    read = tape_.read["bars"]
    assert list(lookup.messages(part, 100, end - 5)) == once and tape_.read["bars"] == read
    assert once[0] == next(m for m in day_messages("bars") if m.partition == 0 and m.offset == 100)


def test_a_feature_comes_out_again_from_two_of_many_sessions() -> None:
    """Four sessions of one symbol: the bars before the previous session are in no window any more."""
    log, calendar, rng = MemoryLog(Layout()), xnys(), Random(7)
    writer, price = log.writer(), 100.0
    session = calendar.session_on(day_number(date(2026, 2, 10)))
    writer.watermark("bars", session.open - MINUTE_US)
    for _ in range(4):
        for t in range(session.open, session.open + 200 * MINUTE_US, MINUTE_US):
            price = round(price * (1 + rng.uniform(-0.002, 0.002)), 2)
            writer.send("bars", bar("AMD", t, price, rng.randint(100, 900)))
            writer.watermark("bars", t)
        session = calendar.next(session.date)
    drain(tasks_of(TOPOLOGY.stage("features"), make(TOPOLOGY.stage("features"), CONFIG, calendar), log))
    newest = bodies(log, "features")[-1]
    found = explain_from(TOPOLOGY, MemorySource(Layout(), recorded(log)), CONFIG, newest["event_id"])
    assert found.verdict is Verdict.SAME
    assert found.windows[newest["event_id"]].listed == 400


def bar(symbol: str, t: int, price: float, volume: int) -> dict[str, Any]:
    return {
        "event_id": event_id("bars", ("iex", symbol, t)),
        "event_time": t + MINUTE_US,
        "symbol": symbol,
        "feed": "iex",
        "t": t,
        "revision": 0,
        **dict.fromkeys(("open", "high", "low", "close"), price),
        "volume": float(volume),
        "origin": "test",
    }
