"""The shell's rules one by one, with a toy stage."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.schemas.codec import encode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.frame import OWN, of_inputs, pack, unpack
from tapedeck.streams.merge import Item, JoinMark, Opened, Record, Skip, Unreadable
from tapedeck.streams.protocol import Join, Message
from tapedeck.streams.shell import DUPLICATE, NO_WATERMARK, STAGE_ERROR, Forward, Produced
from tapedeck.streams.watermarks import opening_headers
from tapedeck.topics.catalogue import WATERMARK_KEY
from tests.support.shells import (
    MINUTE,
    PERIODIC,
    T0,
    Bench,
    bar,
    mark,
    mark_message,
    message,
    record,
    shown,
)


def body_of(bench: Bench, key: bytes, partition: int = 0) -> bytes:
    stored = bench.store.get(partition, key)
    assert stored is not None
    return unpack(stored).body


def test_a_record_is_stepped_written_with_its_cursor_and_acked() -> None:
    bench = Bench()
    effects = bench.apply(record("A", 5))
    (write,) = effects.writes
    assert (write.partition, write.key) == (0, b"A")
    assert unpack(write.value) == (0, {(0, 0): 5}, b"1", {})
    assert [each.offset for each in effects.acks] == [5]
    assert effects.counts == {"IN": 1, "OUT:bars.late": 1}


def test_a_repeat_changes_and_emits_nothing_and_its_value_is_written_again() -> None:
    bench = Bench()
    first = bench.apply(record("A", 5), record("A", 6))
    again = bench.apply(record("A", 5), record("A", 6))
    assert again.outputs == []
    assert again.writes == first.writes
    assert [each.offset for each in again.acks] == [5, 6]
    assert again.counts == {DUPLICATE: 2}
    assert len(bench.stage.rows) == 2


def test_what_is_new_in_a_repeated_batch_is_applied() -> None:
    bench = Bench()
    bench.apply(record("A", 5))
    effects = bench.apply(record("A", 5), record("A", 6))
    assert list(shown(effects.outputs)) == ["A6"]
    assert body_of(bench, b"A") == b"2"
    assert effects.counts[DUPLICATE] == 1


def test_cursors_are_kept_per_partition_of_the_input() -> None:
    bench = Bench(PERIODIC)
    bench.apply(record("A", 5, partition=0), record("B", 3, partition=1))
    effects = bench.apply(record("B", 4, partition=1), record("A", 5, partition=0))
    assert list(shown(effects.outputs)) == ["B4"]
    assert {(write.partition, write.key) for write in effects.writes} == {(0, b"A"), (1, b"B")}


def test_outputs_leave_in_the_order_of_their_causes_with_watermarks_between() -> None:
    effects = Bench().apply(
        record("A", 1), record("B", 2), record("A", 3), mark(T0, 4), record("B", 5), record("A", 6),
        mark(T0 + MINUTE, 7), record("C", 8),
    )  # fmt: skip
    assert list(shown(effects.outputs)) == ["A1", "B2", "A3", "W0", "B5", "A6", "W1", "C8"]
    assert effects.watermark == T0 + MINUTE


def test_the_watermark_value_is_written_last() -> None:
    effects = Bench().apply(mark(T0, 0), record("A", 1), record("B", 2))
    assert [write.key for write in effects.writes] == [b"A", b"B", WATERMARK_KEY]
    assert unpack(effects.writes[-1].value).cursors == {(0, 0): T0}


def test_the_last_watermark_of_every_input_partition_is_there_to_go_on_from() -> None:
    bench = Bench(PERIODIC)
    bench.apply(mark(T0, 3, 0, 1), JoinMark(T0, mark_message(T0, 0, name="universe")))
    bench.apply(mark(T0 + MINUTE, 4, 0, 1))
    assert bench.shell.resume().labels == {
        ("bars", 0): T0 + MINUTE, ("bars", 1): T0 + MINUTE, ("universe", 0): T0,
    }  # fmt: skip


def test_what_openings_declared_is_there_to_go_on_from_beside_the_labels() -> None:
    bench = Bench(replace(PERIODIC, period=None, joins=(Join("quotes"), Join("universe", optional=True))))
    bench.apply(mark(T0, 3, 0, 1), JoinMark(T0, mark_message(T0, 0, name="quotes")))
    messages = tuple(
        mark_message(T0, 4, part)._replace(headers=tuple(opening_headers(T0, ["universe"])))
        for part in (0, 1)
    )
    effects = bench.apply(Opened(T0, ("elsewhere", "quotes", "universe"), messages))
    assert effects.outputs == [Forward(T0, ("elsewhere", "quotes", "universe"))]
    assert effects.acks == [*messages]
    assert effects.watermark is None
    resume = bench.shell.resume()
    assert resume.labels == {("bars", 0): T0, ("bars", 1): T0, ("quotes", 0): T0}
    assert resume.opened == {("bars", 0): T0, ("bars", 1): T0}
    assert resume.absent == {"universe": T0}
    value = unpack(effects.writes[-1].value)
    assert of_inputs(value.cursors) == {(0, 0): T0, (0, 1): T0, (1, 0): T0}


def test_a_partitioned_task_keeps_its_watermark_at_home() -> None:
    bench = Bench(home=2)
    effects = bench.apply(mark(T0, 0, 2), record("A", 1, partition=2))
    assert [(write.partition, write.key) for write in effects.writes] == [(2, b"A"), (2, WATERMARK_KEY)]


@pytest.mark.parametrize(("volume", "reason"), [(13, STAGE_ERROR), (14, "FOURTEEN")])
def test_a_record_that_fails_goes_to_dead_letters_alone(volume: float, reason: str) -> None:
    bench = Bench()
    effects = bench.apply(record("A", 1), record("A", 2, volume), record("B", 3), record("A", 4))
    assert [(each.message.offset, each.error.reason) for each in effects.dead] == [(2, reason)]
    assert list(shown(effects.outputs)) == ["A1", "B3", "A4"]
    assert body_of(bench, b"A") == b"2"
    assert [each.offset for each in effects.acks] == [1, 2, 3, 4]
    assert effects.counts[reason] == 1
    assert bench.apply(record("A", 2, volume)).dead == []


def test_a_key_whose_first_record_failed_begins_without_state() -> None:
    bench = Bench(PERIODIC)
    bench.apply(record("A", 1, 13))
    assert bench.apply(mark(T0, 2)).outputs
    assert body_of(bench, WATERMARK_KEY) == b"|"
    bench.apply(record("A", 3))
    assert body_of(bench, b"A") == b"1"


def test_fatal_leaves_the_shell() -> None:
    with pytest.raises(Fatal, match="fifteen"):
        Bench().apply(record("A", 1), record("A", 2, 15))


def test_a_record_without_a_state_key_is_a_dead_letter() -> None:
    effects = Bench().apply(record("A", 1, 404), record("A", 2))
    assert [each.error.reason for each in effects.dead] == [STAGE_ERROR]
    assert list(shown(effects.outputs)) == ["A2"]
    assert len(effects.acks) == 2


def test_a_record_before_the_first_watermark_is_a_dead_letter_for_the_trigger_only() -> None:
    bench = Bench(PERIODIC)
    effects = bench.apply(record("A", 1, minute=None))
    assert [each.error.reason for each in effects.dead] == [NO_WATERMARK]
    assert effects.counts[NO_WATERMARK] == 1
    assert bench.stage.rows == []
    universe = {
        "event_id": "u", "event_time": T0, "version": 1, "created_at": T0, "source": "MANUAL",
        "validated": False, "members": [], "origin": "test",
    }  # fmt: skip
    joined = Message("universe", 0, 0, 0, b"universe", encode("universe", universe), ())
    assert bench.apply(Record(joined, None)).counts[NO_WATERMARK] == 0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "BAD_PREFIX"),
        (b"\x00\x00\x0f\x00\x00", "UNKNOWN_SCHEMA"),
        (encode("bars", bar("A"))[:-3], "MALFORMED"),
        (encode("bars", bar("A")) + b"x", "MALFORMED"),
        (None, "BAD_PREFIX"),
    ],
)
def test_a_value_that_cannot_be_read_is_a_dead_letter(value: bytes | None, reason: str) -> None:
    broken = message(bar("A"), 1, value=value)
    effects = Bench().apply(Record(broken, T0), record("A", 2))
    assert [(each.message, each.error.reason) for each in effects.dead] == [(broken, reason)]
    assert effects.counts[reason] == 1
    assert [each.offset for each in effects.acks] == [1, 2]
    assert list(shown(effects.outputs)) == ["A2"]


def test_drops_are_counted_and_some_reasons_keep_the_record() -> None:
    effects = Bench().apply(record("A", 1, 16), record("A", 2, 17))
    assert [(each.message.offset, each.error.reason) for each in effects.dead] == [(1, "TOO_DEEP")]
    assert (effects.counts["TOO_DEEP"], effects.counts["QUIET"]) == (1, 1)


def test_requests_are_kept_apart_from_outputs() -> None:
    effects = Bench().apply(record("A", 1, 18))
    assert [each.out.body["kind"] for each in effects.requests] == ["ASK"]
    assert list(shown(effects.outputs)) == ["A1"]


def test_repeated_and_unreadable_watermarks_are_acked_and_accounted_for() -> None:
    bad = mark_message(T0, 2)
    effects = Bench().apply(
        Skip(mark_message(T0, 1)), Unreadable(bad, DeadLetter("no label", reason="BAD_WATERMARK"))
    )
    assert effects.counts[DUPLICATE] == 1
    assert [each.error.reason for each in effects.dead] == ["BAD_WATERMARK"]
    assert [each.offset for each in effects.acks] == [1, 2]
    assert effects.outputs == effects.writes == []


def test_a_period_stage_reads_every_value_and_writes_only_its_own() -> None:
    bench = Bench(PERIODIC)
    bench.apply(record("B", 1), record("A", 2, partition=1))
    effects = bench.apply(record("C", 3), record("B", 4), mark(T0 + MINUTE, 5, 0, 1))
    assert list(shown(effects.outputs)) == ["C3", "B4", "evaluation", "W1"]
    assert [write.key for write in effects.writes] == [b"C", b"B", WATERMARK_KEY]
    assert body_of(bench, WATERMARK_KEY) == b"|A=1,B=2,C=1"
    assert effects.counts["EVALUATED"] == 1
    bench.apply(mark(T0 + 2 * MINUTE, 6, 0, 1))
    assert body_of(bench, WATERMARK_KEY) == b"|A=1,B=2,C=1|A=1,B=2,C=1"


def test_a_stage_without_a_period_is_never_asked_at_a_watermark() -> None:
    effects = Bench().apply(mark(T0, 0))
    assert list(shown(effects.outputs)) == ["W0"]
    assert effects.counts == {}


def test_now_is_the_end_of_the_log_minute_whatever_the_event_time() -> None:
    bench = Bench()
    bench.apply(record("A", 7, minute=T0 - 5 * MINUTE))
    (row,) = bench.stage.rows
    assert (row.log_minute, row.now) == (T0 - 5 * MINUTE, T0 - 4 * MINUTE)


def test_an_epoch_is_kept() -> None:
    bench = Bench()
    bench.store.put(0, b"A", pack(7, {(0, 0): 1}, b"41"))
    bench.apply(record("A", 2))
    stored = bench.store.get(0, b"A")
    assert stored is not None
    assert unpack(stored) == (7, {(0, 0): 2}, b"42", {})


def test_a_new_key_joins_the_table_in_the_tables_epoch() -> None:
    bench = Bench()
    bench.store.put(0, WATERMARK_KEY, pack(7, {(0, 0): T0}, b""))
    bench.apply(record("A", 2))
    stored = bench.store.get(0, b"A")
    assert stored is not None
    assert unpack(stored).epoch == 7


def test_an_output_names_the_message_that_caused_it() -> None:
    effects = Bench().apply(record("A", 1), record("A", 2))
    causes = [each.cause.offset for each in effects.outputs if isinstance(each, Produced) and each.cause]
    assert causes == [1, 2]


SYMBOLS = st.sampled_from("ABC")
STEPS = st.lists(st.one_of(SYMBOLS, st.just("W"), st.just("!")), max_size=40)


def items_of(steps: list[str]) -> list[Item]:
    """A symbol is a bar, ! one that fails, W a watermark."""
    items: list[Item] = []
    label = T0
    for offset, step in enumerate(steps):
        if step == "W":
            label += MINUTE
            items.append(mark(label, offset))
        else:
            items.append(record("A" if step == "!" else step, offset, 13 if step == "!" else 100))
    return items


@given(STEPS, st.lists(st.integers(1, 9), min_size=1))
def test_any_batches_with_every_batch_delivered_twice_give_one_result(
    steps: list[str], sizes: list[int]
) -> None:
    items = items_of(steps)
    whole = Bench()
    expected = list(shown(whole.apply(*items).outputs))
    parts, found, at, turn = Bench(), [], 0, 0
    while at < len(items):
        size = sizes[turn % len(sizes)]
        batch = items[at : at + size]
        found += shown(parts.apply(*batch).outputs)
        again = parts.apply(*(item for item in batch if isinstance(item, Record)))
        assert again.outputs == again.dead == []
        at, turn = at + size, turn + 1
    assert found == expected
    assert dict(parts.store.items()) == dict(whole.store.items())


OLD, NEW = b"o" * 16, b"n" * 16


def test_a_value_says_which_topic_its_cursors_count_in() -> None:
    bench = Bench(ids={"bars": OLD, "features.changelog": NEW})
    bench.apply(record("A", 5), mark(T0, 6))
    for key in (b"A", WATERMARK_KEY):
        assert unpack(bench.store.get(0, key) or b"").logs == {0: OLD, OWN: NEW}


def test_a_value_without_an_id_gets_it_with_the_next_record_and_never_loses_it() -> None:
    bench = Bench(ids={"bars": OLD})
    bench.store.put(0, b"A", pack(0, {(0, 0): 1}, b"41"))
    bench.apply(record("A", 2))
    unknown = Bench()
    unknown.store.put(0, b"A", bench.store.get(0, b"A") or b"")
    unknown.apply(record("A", 3))
    assert unpack(unknown.store.get(0, b"A") or b"") == (0, {(0, 0): 3}, b"43", {0: OLD})


@pytest.mark.parametrize("key", [b"A", WATERMARK_KEY])
@pytest.mark.parametrize("name, rank", [("bars", 0), ("features.changelog", OWN)])
def test_a_value_of_a_topic_that_was_made_anew_stops_the_stage_and_names_the_remedy(
    key: bytes, name: str, rank: int
) -> None:
    bench = Bench(ids={name: NEW})
    bench.store.put(0, key, pack(0, {(0, 0): 1}, b"41", {rank: OLD}))
    with pytest.raises(Fatal, match=f"topic {name} was recreated") as caught:
        bench.apply(record("A", 2))
    assert OLD.hex()[:12] in str(caught.value)
    assert NEW.hex()[:12] in str(caught.value)
    assert "features" in caught.value.what
    assert "`tape topics --recreate features.changelog`" in caught.value.remedy
