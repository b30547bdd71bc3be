"""What a stage needs from the recording to recompute one of its records."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

from tapedeck.streams.again import Begun, Body
from tapedeck.streams.merge import Merge, Part, Record, Resume
from tapedeck.streams.protocol import MINUTE_US, Row, StageSpec
from tapedeck.tape.explain.lookup import DAY_US, Found, Lookup, opened
from tapedeck.tape.explain.tree import parts_of
from tapedeck.topics.catalogue import topic

_TAKE = 10_000
_Placed = tuple[int, Row]
"""A row, and its offset if it is the trigger's."""
Rows = dict[tuple[str, bytes, int | None], tuple[int, Sequence[_Placed]]]
"""Rows read so far: up to which trigger offset, by stage, record key and start."""


class Recorded:
    """The inputs of ``found``, which ``spec`` wrote; ``kept`` avoids reading a history twice."""

    def __init__(self, lookup: Lookup, spec: StageSpec, found: Found, kept: Rows) -> None:
        self._lookup, self._spec, self._found, self._kept = lookup, spec, found, kept
        self._looked_up: dict[tuple[str, tuple[str, ...]], dict[str, Found]] = {}

    def named(self, topic: str, body: Body) -> list[Body]:
        """The events of ``topic`` that ``body`` names as its inputs, as far as they are kept."""
        return [each.body for each in self._find(topic, body)]

    def _find(self, name: str, body: Body) -> list[Found]:
        """The inputs of ``body`` that are in topic ``name``.

        All are looked up together: an id is searched for far and wide where it is not.
        """
        names = self._spec.inputs if name in self._spec.inputs else (name, *self._spec.inputs)
        key = str(body["event_id"]), names
        if key not in self._looked_up:
            parts = [part for each in names for part in parts_of(self._lookup, each, body)]
            cause = self._found.header("tape-cause")
            self._looked_up[key] = self._lookup.find(body["inputs"], parts, body["event_time"], cause)
        found = self._looked_up[key]
        return [found[each] for each in body["inputs"] if each in found and found[each].topic == name]

    def rows(self, record_key: bytes, since: int | None) -> Begun:
        """The stage's input rows with ``record_key`` up to the one that caused the record."""
        spec, body = self._spec, self._found.body
        trigger, *joins = (parts_of(self._lookup, name, body)[0] for name in spec.inputs)
        for name, _ in joins:
            if since is not None:
                since = min([since, *(each.time_us - MINUTE_US for each in self._find(name, body))])
        upto = self._upto(trigger)
        known = self._kept.get((spec.name, record_key, since))
        if known is None or known[0] < upto:
            rows = list(self._read(record_key, since, upto, [trigger, *joins]))
            known = self._kept[spec.name, record_key, since] = (upto, rows)
        return Begun(None, [row for _, row in takewhile(lambda placed: placed[0] < upto, known[1])])

    def _upto(self, trigger: Part) -> int:
        """The offset after the input that caused the record; the end if its header does not say."""
        place, _, offset = self._found.header("tape-cause").rpartition("@")
        named = place == f"{trigger[0]}/{trigger[1]}" and offset.isdecimal()
        return int(offset) + 1 if named else self._lookup.ends(trigger)[1]

    def _read(self, key: bytes, since: int | None, upto: int, parts: Sequence[Part]) -> Iterator[_Placed]:
        starts = {part: self._start(part, since) for part in parts}
        labels = {
            part: label
            for part, start in starts.items()
            if topic(part[0]).watermarked and (label := self._lookup.last_label(part, start)) is not None
        }
        began = self._lookup.opening(parts[0], starts[parts[0]])
        resume = Resume(labels)
        if began is not None:  # what its opening declared absent is so for the rest of the minute
            absent = dict.fromkeys(began.absent, began.label)
            resume = Resume(labels, {parts[0]: began.label}, absent)
        merge = Merge(self._spec, {name: (partition,) for name, partition in parts}, resume)
        reached = max(self._found.time_us, self._lookup.last_label(parts[0], upto) or 0)
        for part in parts:
            # a join is read up to the trigger's watermarks: a warm-up is decided days after its bars
            end = upto if part == parts[0] else self._lookup.offset_at(part, reached + DAY_US)
            for message in self._lookup.messages(part, starts[part], end, key):
                merge.put(message)
        watermarked = topic(self._spec.trigger).watermarked
        while items := merge.take(_TAKE):
            for item in items:
                found = opened(item.message) if isinstance(item, Record) else None
                if found is not None and isinstance(item, Record):
                    minute = item.log_minute or 0
                    now = minute + MINUTE_US if watermarked else int(found.body["event_time"])
                    place = found.message.offset if found.part == parts[0] else -1
                    yield place, Row(found.topic, found.message.key or b"", found.body, minute, now)

    def _start(self, part: Part, since: int | None) -> int:
        return self._lookup.ends(part)[0] if since is None else self._lookup.offset_at(part, since)
