"""The account stage folded again: by batch, with restarts between, and under whatever order of events."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.streams.protocol import REQUESTS, Out
from tapedeck.streams.stages.account.fills import DAY_US
from tapedeck.streams.stages.account.state import pack, unpack
from tests.support.account import Inbox, make_stage


def busy_day() -> Inbox:
    """A little of everything: fills, doubt, refusals, a restart, a close, a foreign execution."""
    inbox = Inbox().start()
    inbox.signal("AMD")
    inbox.fill(inbox.of("orders")[0])
    inbox.pass_time(5).signal("NVDA", "BUY_STOCK")
    inbox.fill(inbox.of("orders")[-1])
    inbox.answers = False
    inbox.signal("CRM", "BUY_PUT", strategy="swing_trade")
    inbox.signal("ORCL")
    inbox.pass_time(1).put("InboxStarted", lease_epoch=2)
    inbox.put("InboxStream", healthy=True, detail="again")
    inbox.answers = True
    open_questions = [out.body for out in inbox.outs if out.topic == REQUESTS and "request_id" in out.body]
    for request in open_questions[-6:]:
        inbox.answer(request)
    for order in [o for o in inbox.of("orders") if o["state"] == "INTENT"][2:]:
        inbox.doubt(order["client_order_id"])
        inbox.missing(order["client_order_id"])
    inbox.execute({"client_order_id": "by-hand", "instrument": "IBM", "side": "BUY"}, "x-foreign", "3", "50")
    inbox.execute({"client_order_id": "by-hand", "instrument": "IBM", "side": "BUY"}, "x-foreign", "3", "50")
    inbox.pass_time(61).signal("NVDA", "SELL_STOCK")
    inbox.control("large", "HALTED")
    inbox.signal("IBM")
    inbox.pass_time(91).put("InboxTick")
    return inbox


@pytest.fixture(scope="module")
def day() -> Inbox:
    return busy_day()


def test_each_signal_ends_in_exactly_one_proposal(day: Inbox) -> None:
    taken = {row.body["payload"][1]["signal_id"] for row in day.rows if "Signal" in row.body["payload"][0]}
    assert sorted(p["signal_id"] for p in day.of("proposals")) == sorted(taken)
    assert len(taken) == 6
    assert {p["verdict"] for p in day.of("proposals")} == {"APPROVED", "REFUSED"}


def test_one_batch_gives_what_single_records_with_a_restart_between_gave(day: Inbox) -> None:
    step = make_stage().step(b"large", None, day.rows)
    assert [out[1:] for out in step.outs] == [out[1:] for out in day.outs]
    assert [drop.reason for drop in step.drops] == [drop.reason for drop in day.drops]
    assert step.state == day.state


@given(cuts=st.lists(st.integers(0, 200), max_size=8))
@settings(max_examples=25, deadline=None)
def test_any_split_into_batches_gives_the_same_outputs_and_state(day: Inbox, cuts: list[int]) -> None:
    edges = sorted({0, len(day.rows), *(min(cut, len(day.rows)) for cut in cuts)})
    state: bytes | None = None
    outs: list[Out] = []
    for start, end in pairwise(edges):
        step = make_stage().step(b"large", state, day.rows[start:end])
        state = step.state
        outs += step.outs
    assert [out[1:] for out in outs] == [out[1:] for out in day.outs]
    assert state == day.state


def test_a_stage_that_holds_its_state_gives_what_one_that_reads_the_bytes_gives(day: Inbox) -> None:
    """Also behind a record that failed half-way, on the day after, and from bytes that are not its last."""
    holding, states = make_stage(), [None]
    for row in day.rows:
        kept = holding.step(b"large", states[-1], [row])
        fresh = make_stage().step(b"large", states[-1], [row])
        assert (kept.state, kept.outs, kept.drops) == (fresh.state, fresh.outs, fresh.drops)
        states.append(kept.state)
        bad = row.body | {"payload": ("tapedeck.InboxControl", {"command": "NO_SUCH"})}
        with pytest.raises(KeyError, match="scope"):
            holding.step(b"large", states[-1], [row._replace(body=bad, now=row.now + DAY_US)])
    last = day.rows[-1]
    for before in states[:: len(states) // 5]:
        assert holding.step(b"large", before, [last]) == make_stage().step(b"large", before, [last])


def test_state_bytes_are_canonical(day: Inbox) -> None:
    assert day.state is not None
    assert pack(unpack(day.state)) == day.state


def test_every_output_has_an_id_of_its_own(day: Inbox) -> None:
    ids = [out.event_id for out in day.outs if out.topic != REQUESTS]
    assert len(ids) == len(set(ids))


SYMBOLS = ("AMD", "NVDA", "CRM")
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("signal"),
            st.sampled_from(SYMBOLS),
            st.sampled_from(["BUY_CALL", "BUY_PUT", "BUY_STOCK", "SELL_STOCK"]),
        ),
        st.tuples(
            st.sampled_from(["fill", "doubt", "missing", "reject", "restart", "mute", "tick"]),
            st.just(""),
            st.just(""),
        ),
    ),
    max_size=25,
)


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_whatever_happens_each_signal_is_decided_once_and_limits_hold(
    steps: list[tuple[str, str, str]],
) -> None:
    inbox = Inbox(ticker_cooldown_minutes=1).start()
    signals = 0
    for kind, symbol, action in steps:
        inbox.pass_time(20)
        intents = [o for o in inbox.of("orders") if o["state"] == "INTENT"]
        if kind == "signal":
            signals += 1
            inbox.signal(symbol, action, signal_id=f"sg_{signals}")
        elif kind == "restart":
            inbox.put("InboxStarted", lease_epoch=2)
            inbox.put("InboxStream", healthy=True, detail="")
        elif kind == "mute":
            inbox.answers = not inbox.answers
        elif kind == "tick":
            inbox.pass_time(91).put("InboxTick")
        elif intents:
            order = intents[-1]
            actions = {"fill": inbox.fill, "doubt": lambda o: inbox.doubt(o["client_order_id"])}
            actions["missing"] = lambda o: inbox.missing(o["client_order_id"])
            actions["reject"] = lambda o: inbox.reply(o["client_order_id"], "REJECTED")
            actions[kind](order)
    inbox.answers = True
    inbox.pass_time(91).put("InboxTick")
    inbox.pass_time(91).put("InboxTick")
    assert sorted(p["signal_id"] for p in inbox.of("proposals")) == sorted(
        f"sg_{n + 1}" for n in range(signals)
    )
    sent = [r["client_order_id"] for r in inbox.requests("SUBMIT")]
    assert len(sent) == len(set(sent))
    held = {p["instrument"]: p["qty"] for p in inbox.of("positions")}
    assert all(qty >= 0 for qty in held.values())
    assert sum(qty > 0 for qty in held.values()) <= 5
    final: dict[str, str] = {}
    for order in inbox.of("orders"):
        assert final.get(order["client_order_id"]) not in {"FILLED", "REJECTED", "NOT_SENT"}
        final[order["client_order_id"]] = order["state"]
