"""Holding and joining of partitions by watermark."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.merge import Item, JoinMark, Mark, Merge, Opened, Record, Resume, Unreadable
from tapedeck.streams.protocol import Join, Message
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import LABEL_HEADER, headers_for, opening_headers
from tapedeck.topics.catalogue import WATERMARK_KEY

MINUTE = 60_000_000
FAN_IN = replace(TOPOLOGY.stage("scores"), joins=())
SIGNALS = replace(TOPOLOGY.stage("signals"), joins=(Join("memberships"),))


class Feeder:
    """Gives messages with the next offset of their partition."""

    def __init__(self, merge: Merge) -> None:
        self.merge = merge
        self.offsets: dict[tuple[str, int], int] = {}

    def record(self, topic: str, partition: int, name: str) -> None:
        self._put(topic, partition, name.encode(), b"x", ())

    def mark(self, topic: str, partition: int, minute: int) -> None:
        self._put(topic, partition, WATERMARK_KEY, None, tuple(headers_for(minute * MINUTE)))

    def opening(self, topic: str, partition: int, minute: int, *absent: str) -> None:
        self._put(topic, partition, WATERMARK_KEY, None, tuple(opening_headers(minute * MINUTE, absent)))

    def _put(
        self,
        topic: str,
        partition: int,
        key: bytes,
        value: bytes | None,
        headers: tuple[tuple[str, bytes | None], ...],
    ) -> None:
        offset = self.offsets.get((topic, partition), 0)
        self.offsets[topic, partition] = offset + 1
        self.merge.put(Message(topic, partition, offset, 0, key, value, headers))


def shown(items: list[Item]) -> list[str]:
    out = []
    for item in items:
        if isinstance(item, Record):
            minute = "-" if item.log_minute is None else str(item.log_minute // MINUTE)
            out.append(f"{(item.message.key or b'').decode()}@{minute}")
        elif isinstance(item, Mark):
            out.append(f"W{item.label // MINUTE}")
        elif isinstance(item, JoinMark):
            out.append(f"J{item.label // MINUTE}")
        elif isinstance(item, Opened):
            out.append("-".join([f"O{item.label // MINUTE}", *item.absent]))
        else:
            out.append(type(item).__name__.lower())
    return out


def signals_merge(labels: dict[tuple[str, int], int] | None = None) -> Feeder:
    parts = {"features": (0,), "memberships": (0,)}
    return Feeder(Merge(SIGNALS, parts, Resume(labels or {})))


def scores_merge() -> Feeder:
    return Feeder(Merge(FAN_IN, {"features": (0, 1)}))


def test_a_join_is_read_to_its_watermark_before_the_trigger_goes_on() -> None:
    feed = signals_merge()
    feed.mark("features", 0, 9)
    feed.record("features", 0, "f10")
    assert shown(feed.merge.take(10)) == ["W9"]
    feed.record("memberships", 0, "m10")
    assert shown(feed.merge.take(10)) == ["m10@-"]
    feed.mark("memberships", 0, 9)
    assert shown(feed.merge.take(10)) == ["J9", "f10@9"]


def test_join_records_behind_its_watermark_wait_for_the_trigger() -> None:
    feed = signals_merge()
    feed.mark("features", 0, 9)
    feed.mark("memberships", 0, 9)
    feed.record("memberships", 0, "m11")
    feed.record("features", 0, "f10")
    assert shown(feed.merge.take(10)) == ["W9", "J9", "f10@9"]
    assert feed.merge.held(("memberships", 0)) == 1
    feed.mark("features", 0, 10)
    assert shown(feed.merge.take(10)) == ["W10", "m11@9"]


def test_fan_in_holds_the_partition_that_is_ahead() -> None:
    feed = scores_merge()
    feed.mark("features", 0, 9)
    feed.record("features", 0, "ahead")
    feed.record("features", 1, "before")
    assert shown(feed.merge.take(10)) == ["before@-"]
    feed.mark("features", 1, 9)
    assert shown(feed.merge.take(10)) == ["W9", "ahead@9"]


def test_a_label_at_or_below_the_last_one_is_dropped() -> None:
    feed = signals_merge({("features", 0): 9 * MINUTE, ("memberships", 0): 9 * MINUTE})
    feed.mark("features", 0, 8)
    feed.mark("features", 0, 9)
    feed.record("features", 0, "f")
    assert shown(feed.merge.take(10)) == ["skip", "skip", "f@9"]


def test_labels_may_jump_and_the_lowest_partition_decides() -> None:
    feed = scores_merge()
    feed.mark("features", 0, 9)
    feed.mark("features", 1, 20)
    feed.record("features", 1, "late")
    assert shown(feed.merge.take(10)) == ["W9"]
    feed.mark("features", 0, 20)
    assert shown(feed.merge.take(10)) == ["W20", "late@20"]


def test_a_period_stage_gets_its_mark_after_the_joins() -> None:
    feed = Feeder(Merge(TOPOLOGY.stage("watchlist"), {"scores": (0,), "universe": (0,)}))
    feed.mark("scores", 0, 9)
    assert shown(feed.merge.take(10)) == []
    feed.record("universe", 0, "u")
    feed.mark("universe", 0, 9)
    assert shown(feed.merge.take(10)) == ["u@-", "J9", "W9"]


def test_a_watermark_without_a_label_is_unreadable_and_does_not_stop_the_stream() -> None:
    feed = scores_merge()
    feed._put("features", 0, WATERMARK_KEY, None, ((LABEL_HEADER, b"soon"),))
    feed.record("features", 0, "f")
    items = feed.merge.take(10)
    assert isinstance(items[0], Unreadable)
    assert items[0].error.reason == "BAD_WATERMARK"
    assert shown(items[1:]) == ["f@-"]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_any_take_size_and_arrival_order_gives_every_message_once_with_the_same_minutes(
    takes: list[int], rng
) -> None:  # type: ignore[no-untyped-def]
    def script(part: tuple[str, int]) -> list[tuple[str, str | int]]:
        steps: list[tuple[str, str | int]] = []
        for minute in range(5):
            steps.append(("mark", minute))
            steps.extend(("record", f"{part[0]}{part[1]}-{minute}-{n}") for n in range(2))
        return [*steps, ("mark", 9)]

    def run(order_rng, sizes: list[int]) -> list[str]:  # type: ignore[no-untyped-def]
        feed = signals_merge()
        scripts = {part: script(part) for part in (("features", 0), ("memberships", 0))}
        out: list[str] = []
        turn = 0
        while any(scripts.values()):
            part = order_rng.choice([p for p, steps in scripts.items() if steps])
            kind, what = scripts[part].pop(0)
            (feed.mark if kind == "mark" else feed.record)(*part, what)  # type: ignore[operator, call-arg]
            out.extend(shown(feed.merge.take(sizes[turn % len(sizes)])))
            turn += 1
        while items := feed.merge.take(1000):
            out.extend(shown(items))
        return out

    found = run(rng, takes)
    features = [each for each in found if each.startswith("features") or each.startswith("W")]
    assert features == [
        f"W{m}" if n < 0 else f"features0-{m}-{n}@{m}" for m in range(5) for n in (-1, 0, 1)
    ] + ["W9"]
    joined = {each.split("@")[0] for each in found if each.startswith("memberships")}
    assert len(joined) == 10
    position = {each.split("@")[0]: i for i, each in enumerate(found)}
    for minute in range(1, 5):
        assert position[f"memberships0-{minute - 1}-1"] < position[f"features0-{minute}-0"]
