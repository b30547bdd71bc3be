"""The join of the columnar driver gives, whole blocks at a time, what the merge gives record by record."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tapedeck.streams.blocks import Block
from tapedeck.streams.columnar.block_columns import NEVER
from tapedeck.streams.columnar.join import BlockMerge
from tapedeck.streams.frame import OPENED
from tapedeck.streams.merge import (
    Aside,
    JoinMark,
    Mark,
    Merge,
    Opened,
    Part,
    Record,
    Resume,
    Skip,
    Unreadable,
)
from tapedeck.streams.protocol import Join, Message, StageSpec
from tapedeck.streams.watermarks import (
    LABEL_HEADER,
    OPENS_HEADER,
    Opening,
    Watermark,
    headers_for,
    opening_headers,
    readable_punctuation,
)
from tapedeck.topics.catalogue import WATERMARK_KEY

ONE = "bars"
FIRST, SECOND = "universe", "memberships"
Cursors = dict[tuple[int, int], int]


@dataclass
class Given:
    """What a driver gave: offsets in order by (partition, minute), what it forwarded, and where it stands."""

    records: list[tuple[Part, int, int]] = field(default_factory=list)
    forwards: list[tuple[int, tuple[str, ...] | None]] = field(default_factory=list)
    cursors: Cursors = field(default_factory=dict)
    applied: dict[Part, int] = field(default_factory=dict)


def by_record(spec: StageSpec, logs: dict[Part, list[Message]], start: Cursors, most: int = 10**6) -> Given:
    """What the merge gives, as far as ``most`` items, as a shell would apply them."""
    inputs = spec.inputs
    resume = Resume(
        {(inputs[rank], p): label for (rank, p), label in start.items() if rank < OPENED},
        {(spec.trigger, p): label for (rank, p), label in start.items() if rank == OPENED},
        {inputs[rank - OPENED]: label for (rank, _), label in start.items() if rank > OPENED},
    )
    parts: dict[str, list[int]] = {name: [] for name in inputs}
    for name, partition in logs:
        parts[name].append(partition)
    merge = Merge(spec, parts, resume)
    for messages in logs.values():
        for message in messages:
            merge.put(message)
    given = Given(cursors=dict(start))
    complete = min((start.get((0, p), NEVER) for p in parts[spec.trigger]), default=NEVER)
    optional = {join.topic for join in spec.joins if join.optional}

    def ack(*messages: Message) -> None:
        for each in messages:
            part = each.topic, each.partition
            given.applied[part] = max(given.applied.get(part, 0), each.offset + 1)

    for item in islice(iter(lambda: merge.take(1), []), most):
        match item[0]:
            case Record(message, log_minute):
                ack(message)
                own = NEVER if log_minute is None else log_minute
                minute = own if message.topic == spec.trigger else complete
                if spec.period is not None and message.topic != spec.trigger:
                    minute = merge.complete or 0
                given.records.append(((message.topic, message.partition), minute, message.offset))
            case Mark(label, messages):
                complete = label
                ack(*messages)
                for each in messages:
                    found = next(int(c or b"") for n, c in each.headers if n == LABEL_HEADER)
                    given.cursors[0, each.partition] = found
                given.forwards.append((label, None))
            case JoinMark(label, message):
                ack(message)
                given.cursors[inputs.index(message.topic), message.partition] = label
            case Opened(label, absent, messages):
                ack(*messages)
                given.cursors |= {(OPENED, each.partition): label for each in messages}
                given.cursors |= {(OPENED + inputs.index(n), 0): label for n in optional & set(absent)}
                given.forwards.append((label, absent))
            case Skip(message) | Aside(message) | Unreadable(message, _):
                ack(message)
    return given


def by_block(spec: StageSpec, logs: dict[Part, list[Message]], start: Cursors, size: int) -> Given:
    """What the columnar join gives over blocks of ``size`` records."""

    def stream(part: Part) -> Iterator[Block]:
        messages = logs[part]
        return (Block.of(messages[at : at + size]) for at in range(0, len(messages), size))

    merge = BlockMerge(spec, list(logs), stream, start)
    given = Given()
    for stretch in merge.stretches():
        for piece in (p for pieces in stretch.joins.values() for p in pieces):
            given.records += taken(piece)
        for piece in stretch.trigger:
            given.records += taken(piece)
        given.forwards += [(forward.label, forward.absent) for _, forward in stretch.forwards]
        if sum(part[0] == spec.trigger for part in logs) == 1:
            assert_placed(stretch)
    given.cursors, given.applied = merge.cursors(), merge.applied
    return given


def taken(piece) -> list[tuple[Part, int, int]]:  # type: ignore[no-untyped-def]
    pairs = zip(piece.minutes.tolist(), piece.offsets.tolist(), strict=True)
    return [(piece.block.part, minute, offset) for minute, offset in pairs]


def assert_placed(stretch) -> None:  # type: ignore[no-untyped-def]
    """With one partition a stretch holds at most one piece, and watermarks stand in its block."""
    assert len(stretch.trigger) <= 1
    places = [place for place, _ in stretch.forwards]
    assert places == sorted(places)
    for piece in stretch.trigger:
        for place, forward in stretch.forwards:
            name = LABEL_HEADER if forward.absent is None else OPENS_HEADER
            headers = dict(piece.block.message(place).headers)
            assert headers[name] == str(forward.label).encode()


def in_order(given: Given) -> dict[Part, list[tuple[int, int]]]:
    """(minute, offset) by partition."""
    found: dict[Part, list[tuple[int, int]]] = {}
    for part, minute, offset in given.records:
        found.setdefault(part, []).append((minute, offset))
    return found


Entry = tuple[str, int, tuple[str, ...]]
ENTRIES = st.one_of(
    st.tuples(st.just("record"), st.just(0), st.just(())),
    st.tuples(st.just("mark"), st.integers(0, 5), st.just(())),
    st.tuples(st.just("mark"), st.integers(0, 5), st.just(())),
    st.tuples(
        st.just("opening"), st.integers(0, 5), st.lists(st.sampled_from([FIRST, SECOND, "news"]), max_size=2)
    ).map(lambda each: (each[0], each[1], tuple(each[2]))),
    st.tuples(st.just("unreadable"), st.integers(0, 2), st.just(())),
)  # fmt: skip


@st.composite
def orderly(draw: st.DrawFn, *, names: tuple[str, ...]) -> list[Entry]:
    """Minute by minute, mostly as a writer leaves it: watermark, opening, records, and some of it again."""
    found: list[Entry] = []
    for minute in range(draw(st.integers(0, 5))):
        if draw(st.booleans()) or draw(st.booleans()):
            found.append(("mark", minute, ()))
            if draw(st.booleans()):
                absent = draw(st.lists(st.sampled_from(names), max_size=2)) if names else []
                found.append(("opening", minute, tuple(absent)))
        found += draw(st.lists(ENTRIES, max_size=1))
        found += [("record", 0, ())] * draw(st.integers(0, 2))
    return found


def messages_of(part: Part, entries: list[Entry], steps: list[int]) -> list[Message]:
    found, offset = [], 0
    for (kind, label, names), step in zip(entries, steps, strict=False):
        offset += step
        key: bytes | None = WATERMARK_KEY
        value: bytes | None = None
        headers: list[tuple[str, bytes | None]] = []
        match kind:
            case "record":
                key, value = b"AAA", b"x"
            case "mark":
                headers = headers_for(label)
            case "opening":
                headers = opening_headers(label, names)
            case "unreadable":
                headers = [
                    [(LABEL_HEADER, b"soon")],
                    [(OPENS_HEADER, b"")],
                    [*opening_headers(label, ("a",)), ("tape-absent", b"!")],
                ][label]  # type: ignore[assignment]
        found.append(Message(*part, offset, 0, key, value, tuple(headers)))
    return found


@dataclass(frozen=True)
class Case:
    """A stage, its inputs' logs, the size of blocks, and after how many items it is started again."""

    spec: StageSpec
    logs: dict[Part, list[Message]]
    size: int
    stop: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    joins = draw(st.lists(st.sampled_from([FIRST, SECOND]), unique=True, max_size=2))
    optional = {name: draw(st.booleans()) for name in joins}
    period = draw(st.sampled_from([None, 60]))
    spec = StageSpec(
        name="toy", trigger=ONE, joins=tuple(Join(name, optional[name]) for name in joins),
        outputs=("features",), scale="single", period=period, doc="a toy",
    )  # fmt: skip
    parts = [(ONE, p) for p in range(draw(st.sampled_from([1, 1, 2, 3])))]
    parts += [(name, p) for name in joins for p in range(draw(st.integers(1, 2)))]
    logs = {}
    for part in parts:
        whole = orderly(names=(FIRST, SECOND, "news")) if part[0] == ONE else orderly(names=())
        entries = draw(st.one_of(whole, st.lists(ENTRIES, max_size=10)) if draw(st.booleans()) else whole)
        logs[part] = messages_of(part, entries, draw(st.lists(st.integers(1, 2), min_size=40, max_size=40)))
    return Case(spec, logs, draw(st.integers(1, 9)), draw(st.integers(0, 30)))


def assert_agree(case: Case, logs: dict[Part, list[Message]], start: Cursors) -> Given:
    theirs = by_record(case.spec, logs, start)
    ours = by_block(case.spec, logs, start, case.size)
    assert in_order(ours) == in_order(theirs)
    assert ours.forwards == theirs.forwards
    assert ours.cursors == theirs.cursors
    assert ours.applied == theirs.applied
    return theirs


def follow_their_watermarks(messages: list[Message]) -> bool:
    """Whether no opening stands before the watermark that it follows, as no writer leaves it."""
    seen: set[int] = set()
    for message in messages:
        found = readable_punctuation(message)
        if isinstance(found, Opening) and found.label not in seen:
            return False
        if isinstance(found, Watermark):
            seen.add(found.label)
    return True


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_blocks_of_any_size_give_what_single_records_give(case: Case) -> None:
    assert_agree(case, case.logs, {})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), st.booleans())
def test_what_was_stopped_anywhere_goes_on_alike(case: Case, again: bool) -> None:
    """``again``: everything is read again, as after a crash before anything was acknowledged."""
    assume(not again or all(map(follow_their_watermarks, case.logs.values())))
    first = by_record(case.spec, case.logs, {}, case.stop)
    logs = {
        part: [m for m in messages if again or m.offset >= first.applied.get(part, 0)]
        for part, messages in case.logs.items()
    }
    assert_agree(case, logs, first.cursors)
