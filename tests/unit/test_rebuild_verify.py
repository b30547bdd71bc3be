"""Verify finds every single corrupted value of state, output or offset, and nothing where all is well."""

import random
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.bulk.job import TaskId, inputs_of, outputs_of
from tapedeck.streams.config.document import Config
from tapedeck.streams.contract import Message
from tapedeck.streams.frame import pack, unpack
from tapedeck.streams.merge import Part
from tapedeck.streams.topology import spec_of
from tapedeck.tape.rebuild.live import table_partitions
from tapedeck.tape.rebuild.verdict import Kind
from tapedeck.tape.rebuild.verify import verify_task
from tapedeck.topics.catalogue import WATERMARK_KEY, topic
from tests.unit.rebuild_support import LAYOUT, TASKS, Recorded, recorded

CORRUPTIONS = 200


class Case(NamedTuple):
    """A corrupted recording, whose task must differ by one of ``kinds``."""

    recording: Recorded
    task: TaskId
    kinds: tuple[Kind, ...]


def newest_values(task: TaskId, watermark: bool) -> list[tuple[Part, int]]:
    """Where the newest value of each key of the table stands in the changelog."""
    found: dict[tuple[Part, bytes], int] = {}
    changelog = spec_of(task.stage).changelog
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
    epoch, cursors, body = unpack(recorded().messages[part][place].value or b"")
    at = rng.randrange(len(body))
    other = body[:at] + bytes([body[at] ^ (1 << rng.randrange(8))]) + body[at + 1 :]
    return Case(replaced(part, place, value=pack(epoch, cursors, other)), task, (Kind.CHANGED,))


def state_cursor(rng: random.Random) -> Case:
    """One cursor, raised or lowered; a raised one of the trigger may be the new cut of the task."""
    task, part, place = state_value(rng)
    epoch, cursors, body = unpack(recorded().messages[part][place].value or b"")
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
    epoch, cursors, body = unpack(message.value or b"")
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
