"""The funnel of the newest minutes: from the ends of topics, over whole minutes that a stage has ended."""

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from functools import cache

import pytest

from tapedeck.connectors.dead_letters import TOPIC as DEAD
from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import readable_label
from tapedeck.tape.doctor.snapshot import FunnelSeen
from tapedeck.tape.status.compared import differing
from tapedeck.tape.status.settled import MINUTES, Tail, checked, newest
from tapedeck.topics.catalogue import Layout
from tests.support.sim_tapes import CONFIG, run_clean, small_tape, written

Change = Callable[[list[Message]], list[Message]]
STAGES = tuple(spec.name for spec in checked(TOPOLOGY))


@cache
def log() -> MemoryLog:
    """Twelve minutes of a session, decided by the market stages."""
    found = written(small_tape(), minutes=slice(60, 72), history_tail=20)
    run_clean(found)
    return found


def seen(stage: str, back: int = 10_000, **changes: Change) -> FunnelSeen | None:
    """What is seen of ``stage`` in the last ``back`` messages of each partition, changed by topic."""
    spec, layout = TOPOLOGY.stage(stage), Layout()
    ends = {}
    for name in (spec.trigger, *spec.outputs, DEAD):
        parts: dict[int, list[Message]] = defaultdict(list)
        for message in log().messages(name):
            parts[message.partition].append(message)
        for partition in range(layout.partitions(name)):
            messages = changes.get(name, list)(parts[partition])
            ends[name, partition] = Tail(messages[-back:], len(messages) <= back)
    return newest(spec, layout, ends, CONFIG, xnys())


def records(messages: list[Message]) -> list[Message]:
    return [each for each in messages if readable_label(each) is None and each.value is not None]


def without_last(messages: list[Message]) -> list[Message]:
    """The messages without the last record of the partition."""
    last = records(messages)[-1:]
    return [each for each in messages if each not in last]


def test_the_stages_of_bars_are_checked() -> None:
    assert STAGES == ("features", "signals")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("back", [10, 14, 10_000])
def test_whole_minutes_add_up_wherever_the_read_begins(stage: str, back: int) -> None:
    found = seen(stage, back)
    assert found is not None and found.stage == stage
    assert all(line.balanced and line.taken > 0 for line in found.lines), found.lines
    minutes = (found.last - found.first) // MINUTE_US
    assert minutes == MINUTES if back > 20 else 0 < minutes <= MINUTES


@pytest.mark.parametrize(
    "stage, topic, line",
    [("features", "features", "features"), ("signals", "decisions", "decisions")],
)
def test_a_result_that_vanished_is_missed(stage: str, topic: str, line: str) -> None:
    found = seen(stage, **{topic: without_last})
    assert found is not None
    lines = {each.name: each for each in found.lines}
    assert lines[line].unexplained >= 1


def test_what_the_stage_has_not_ended_is_not_judged() -> None:
    """The newest minutes of the output are missing, with their watermarks: the stage is only behind."""

    def early(messages: list[Message]) -> list[Message]:
        labels = sorted(label for m in messages if (label := readable_label(m)) is not None)
        cut = labels[-3] if labels else 0
        return [m for m in messages if m.timestamp * 1_000 <= cut + MINUTE_US]

    late = seen("features", features=early, **{"bars.late": early})
    whole = seen("features")
    assert late is not None and whole is not None and late.last < whole.last
    assert all(line.balanced for line in late.lines)


def test_a_bar_that_comes_after_the_end_of_its_minute_is_judged_with_the_next() -> None:
    def again(messages: list[Message]) -> list[Message]:
        late = [
            each._replace(
                value=encode("bars", decode("bars", each.value) | {"revision": 7, "event_id": "late"})
            )
            for each in records(messages)[-1:]
        ]
        return [*messages, *late]

    found = seen("features", bars=again)
    assert found is not None and all(line.balanced for line in found.lines)


def test_nothing_is_seen_where_nothing_came() -> None:
    assert seen("features", bars=lambda messages: [m for m in messages if readable_label(m)]) is None
    assert seen("features", features=records) is None, "without a watermark no minute is known to be over"


def listed(at: int, *held: tuple[str, str], error: str | None = None) -> dict[str, object]:
    positions = [{"instrument": name, "qty": Decimal(qty)} for name, qty in held]
    content = {"error": error, "positions": positions}
    return {"account_id": "tiny", "event_time": at, "payload": ("tapedeck.InboxBroker", content)}


def position(name: str, qty: str, at: int) -> dict[str, object]:
    return {"account_id": "tiny", "instrument": name, "qty": Decimal(qty), "event_time": at}


def test_positions_are_compared_with_the_last_list_of_the_broker_that_was_answered() -> None:
    at, before = 100 * MINUTE_US, 90 * MINUTE_US
    ours = [position("AAPL", "2", before), position("MSFT", "0", before), position("NVDA", "5", at)]
    lists = [listed(before), listed(at, ("AAPL", "1"), ("WMT", "3")), listed(at + 1, error="no answer")]
    (found,) = differing(lists, ours)
    assert (found.account, found.at) == ("tiny", at)
    assert found.differs == (("AAPL", Decimal(2), Decimal(1)), ("WMT", Decimal(0), Decimal(3)))
    (well,) = differing([listed(at, ("AAPL", "2"))], ours)
    assert well.differs == (), "what moved in the last minute is not judged"
    assert differing([listed(at, error="no answer")], ours) == ()
