"""Verify finds every single corrupted value of state, output or offset, and nothing where all is well."""

import random
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.columnar.job import TaskId, inputs_of, outputs_of
from tapedeck.streams.config.document import Config
from tapedeck.streams.frame import pack, unpack
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import readable_label
from tapedeck.tape.rebuild.compared import uncompared
from tapedeck.tape.rebuild.live import table_partitions
from tapedeck.tape.rebuild.verdict import Compared, Kind
from tapedeck.tape.rebuild.verify import verify_task
from tapedeck.topics.catalogue import WATERMARK_KEY, topic
from tests.support.cases import BAR_STAGES
from tests.support.rebuilds import LAYOUT, PLAYED, TASKS, Recorded, recorded

CORRUPTIONS = 200


class Case(NamedTuple):
    """A corrupted recording, whose task must differ by one of ``kinds``."""

    recording: Recorded
    task: TaskId
    kinds: tuple[Kind, ...]


def newest_values(task: TaskId, watermark: bool) -> list[tuple[Part, int]]:
    """Where the newest value of each key of the table stands in the changelog."""
    found: dict[tuple[Part, bytes], int] = {}
    changelog = TOPOLOGY.stage(task.stage).changelog
    for partition in table_partitions(task, recorded().basis().source):
        part = (changelog, partition)
        for place, message in enumerate(recorded().messages.get(part, ())):
            if (message.key == WATERMARK_KEY) == watermark:
                found[part, message.key or b""] = place
    return [(part, place) for (part, _), place in sorted(found.items())]


def replaced(part: Part, place: int, **changes: object) -> Recorded:
    messages = list(recorded().messages[part])
    messages[place] = messages[place]._replace(**changes)  # type: ignore[arg-type]
    return recorded().with_messages(part, messages)


def state_body(rng: random.Random) -> Case:
    task, part, place = state_value(rng)
    epoch, cursors, body, _ = unpack(recorded().messages[part][place].value or b"")
    at = rng.randrange(len(body))
    other = body[:at] + bytes([body[at] ^ (1 << rng.randrange(8))]) + body[at + 1 :]
    return Case(replaced(part, place, value=pack(epoch, cursors, other)), task, (Kind.CHANGED,))


def state_cursor(rng: random.Random) -> Case:
    """One cursor, raised or lowered; a raised one of the trigger may be the new cut of the task."""
    task, part, place = state_value(rng)
    epoch, cursors, body, _ = unpack(recorded().messages[part][place].value or b"")
    at = rng.choice(sorted(cursors))
    other = cursors | {at: cursors[at] + rng.choice((-2, -1, 1, 2))}
    messages = [*recorded().messages[part]]
    del messages[place]
    messages.append(recorded().messages[part][place]._replace(value=pack(epoch, other, body)))
    key = messages[-1].key
    alone = [m for m in messages[:-1] if m.key != key]
    return Case(recorded().with_messages(part, [*alone, messages[-1]]), task, (Kind.CHANGED,))


def watermark_label(rng: random.Random) -> Case:
    task = rng.choice([each for each in TASKS if newest_values(each, True)])
    part, place = rng.choice(newest_values(task, True))
    message = recorded().messages[part][place]
    epoch, cursors, body, _ = unpack(message.value or b"")
    at = rng.choice(sorted(cursors))
    moved = rng.choice((-60, -1, 1, 60, 6000)) * 60_000_000
    other = message._replace(value=pack(epoch, cursors | {at: cursors[at] + moved}, body))
    alone = [m for m in recorded().messages[part] if m.key != WATERMARK_KEY]
    return Case(
        recorded().with_messages(part, [*alone, other]),
        task,
        (Kind.CHANGED, Kind.LABEL_AHEAD, Kind.OFFSET_AHEAD),
    )


def state_value(rng: random.Random) -> tuple[TaskId, Part, int]:
    task = rng.choice([each for each in TASKS if newest_values(each, False)])
    return task, *rng.choice(newest_values(task, False))


def output(rng: random.Random) -> tuple[TaskId, Part, int, Message]:
    """A record of an output topic."""
    while True:
        task = rng.choice(TASKS)
        part = rng.choice(outputs_of(task, LAYOUT))
        held = recorded().messages.get(part, ())
        places = [place for place, message in enumerate(held) if message.value is not None]
        if places:
            place = rng.choice(places)
            return task, part, place, held[place]


def changed_body(rng: random.Random, part: Part, message: Message) -> bytes:
    """The record with another value in one of its plain fields."""
    schema = topic(part[0]).schema or ""
    body = decode(schema, message.value)
    plain = [f for f, v in body.items() if isinstance(v, int | float | str) and f not in ("event_id",)]
    plain = [f for f in plain if not isinstance(body[f], str) or f in ("symbol", "config_digest")]
    field = rng.choice(sorted(plain))
    value = body[field]
    body[field] = (not value) if isinstance(value, bool) else value + ("X" if isinstance(value, str) else 1)
    return encode(schema, body)


def output_field(rng: random.Random) -> Case:
    task, part, place, message = output(rng)
    value = changed_body(rng, part, message)
    return Case(replaced(part, place, value=value), task, (Kind.CHANGED,))


def output_dropped(rng: random.Random) -> Case:
    task, part, place, _ = output(rng)
    messages = list(recorded().messages[part])
    del messages[place]
    return Case(recorded().with_messages(part, messages), task, (Kind.MISSING,))


def output_with_two_bodies(rng: random.Random) -> Case:
    task, part, place, message = output(rng)
    messages = list(recorded().messages[part])
    other = message._replace(value=changed_body(rng, part, message))
    messages.insert(rng.randrange(place, len(messages)) + 1, other)
    return Case(recorded().with_messages(part, messages), task, (Kind.CONFLICT,))


def output_key(rng: random.Random) -> Case:
    task, part, place, message = output(rng)
    return Case(replaced(part, place, key=(message.key or b"") + b"2"), task, (Kind.CHANGED,))


def offset_ahead(rng: random.Random) -> Case:
    task = rng.choice(TASKS)
    part = rng.choice(inputs_of(task, LAYOUT))
    known = recorded().committed[task]
    moved = known | {part: (known[part] or 0) + rng.randint(1, 3)}
    changed = Recorded(recorded().messages, recorded().committed | {task: moved})
    return Case(changed, task, (Kind.OFFSET_AHEAD,))


KINDS: tuple[Callable[[random.Random], Case], ...] = (
    state_body, state_cursor, watermark_label, output_field, output_dropped, output_with_two_bodies,
    output_key, offset_ahead,
)  # fmt: skip


def test_nothing_is_reported_where_all_is_well() -> None:
    for task in TASKS:
        verdict = recorded().verified(task)
        assert verdict.differences == []
        assert verdict.state[0] == verdict.state[1]
    assert sum(len(held) for held in recorded().messages.values()) > 1000


@pytest.mark.parametrize("kind", KINDS, ids=lambda each: each.__name__)
def test_every_single_corruption_is_found(kind: Callable[[random.Random], Case]) -> None:
    for seed in range(CORRUPTIONS // len(KINDS)):
        case = kind(random.Random(f"{kind.__name__} {seed}"))
        assert case.recording != recorded(), "the corruption changed nothing"
        found = case.recording.verified(case.task).differences
        assert found, f"{kind.__name__} {seed} on {case.task} was not found"
        assert found[0].kind in case.kinds, (seed, case.task, found[0])
        assert found[0].detail


def test_under_another_configuration_what_live_has_more_names_both_documents() -> None:
    task = next(each for each in TASKS if each.stage == "signals" and newest_values(each, False))
    basis = recorded().basis()
    document = basis.config.model_dump(mode="python")
    document["signal"] |= {"cooldown_min": 77}
    changed = Config.model_validate(document)
    committed = recorded().committed[task]
    found = verify_task(task, basis._replace(config=changed), committed=committed).differences
    extra = [each.detail for each in found if each.kind is Kind.EXTRA]
    assert extra and all("name the run's with --config" in each for each in extra)
    assert all(basis.config.digest in each and changed.digest in each for each in extra)


def emptied(*kinds: str, topics: Callable[[str], bool]) -> Recorded:
    """The recording without the topics that ``topics`` names, or without records or watermarks in them."""
    messages = {}
    for part, held in recorded().messages.items():
        if not topics(part[0]):
            messages[part] = held
            continue
        kept = tuple(m for m in held if ("watermark" if m.key == WATERMARK_KEY else "record") in kinds)
        if kept:
            messages[part] = kept
    return Recorded(messages, {task: dict.fromkeys(inputs_of(task, LAYOUT)) for task in TASKS})


WRITTEN = {
    name for task in TASKS for name in (*task.spec.outputs, task.spec.changelog)
}  # fmt: skip


def test_a_stage_that_never_ran_is_not_equal_and_says_what_its_input_holds() -> None:
    sources = emptied(topics=WRITTEN.__contains__)
    features = [task for task in TASKS if task.stage == "features"]
    found = [(task, sources.verified(task)) for task in features]
    assert all(not verdict.differences and not verdict.live for _, verdict in found)
    told = uncompared((task, verdict.compared) for task, verdict in found)
    assert [each.task for each in told] == features
    minutes = len({label for label in map(readable_label, recorded().messages["bars", 0]) if label})
    assert minutes > PLAYED
    assert f"no output and no table, although bars holds {minutes} minutes and" in told[0].why
    assert "tape worker features" in told[0].remedy


def test_the_stage_behind_one_that_never_ran_points_to_it() -> None:
    sources = emptied(topics=WRITTEN.__contains__)
    task = next(task for task in TASKS if task.stage == "signals")
    [told] = uncompared([(task, sources.verified(task).compared)])
    assert told.why == "features has no records" and "the stage features first" in told.remedy


def test_a_worker_that_crashed_before_its_first_batch_in_one_partition_is_named() -> None:
    features = [task for task in TASKS if task.stage == "features"]
    last = features[-1]
    lost = recorded().messages.keys() & {(name, last.home) for name in ("features", "features.changelog")}
    assert len(lost) == 2
    messages = {part: held for part, held in recorded().messages.items() if part not in lost}
    fallen = Recorded(messages, recorded().committed | {last: dict.fromkeys(inputs_of(last, LAYOUT))})
    told = uncompared((task, fallen.verified(task).compared) for task in features)
    assert [each.task for each in told] == [last]


def test_topics_without_records_are_not_equal() -> None:
    nothing = emptied(topics=lambda name: True)
    assert nothing.messages == {}
    told = uncompared((task, nothing.verified(task).compared) for task in TASKS)
    assert [each.task for each in told] == TASKS
    first = next(each for each in told if each.task.stage == "features")
    assert first.why == "bars has no records" and "play a tape first" in first.remedy


def test_records_without_a_watermark_are_not_compared_and_that_is_said() -> None:
    unended = emptied("record", topics=lambda name: name not in WRITTEN)
    messages = {part: held for part, held in unended.messages.items() if part[0] not in WRITTEN}
    task = next(task for task in TASKS if ("bars", task.home) in messages)
    [told] = uncompared([(task, Recorded(messages, unended.committed).verified(task).compared)])
    assert "records but no watermark" in told.why and "`tape watermark`" in told.remedy


def test_a_task_whose_input_is_watermarks_alone_counts_only_beside_others() -> None:
    busy, idle = Compared(values=3, outputs=40), Compared(why="bars holds no record", idle=True)
    first, second = [task for task in TASKS if task.stage == "features"][:2]
    assert first.stage == second.stage
    assert uncompared([(first, busy), (second, idle)]) == []
    assert [each.task for each in uncompared([(first, idle), (second, idle)])] == [first, second]


def test_what_is_compared_is_counted() -> None:
    tasks = [task for task in TASKS if task.stage in BAR_STAGES]
    compared = [recorded().verified(task).compared for task in tasks]
    assert not any(each.why and not each.idle for each in compared)
    assert sum(each.outputs for each in compared) > 200
    assert {task.stage for task, each in zip(tasks, compared, strict=True) if each.values} == {
        task.stage for task in tasks
    }
