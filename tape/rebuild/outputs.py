"""Compares the outputs of one task with its topics: which records differ, and in which fields."""

from collections.abc import Iterator
from tempfile import TemporaryFile

from tapedeck.streams.blocks import Block, Source
from tapedeck.streams.columnar.task import run_task
from tapedeck.streams.merge import Part
from tapedeck.tape.rebuild.live import Located, TopicRows, locate
from tapedeck.tape.rebuild.naming import record_difference
from tapedeck.tape.rebuild.verdict import MOST, Basis, Difference, Kind, Verdict
from tapedeck.topics.catalogue import topic


class Outputs:
    """Compares the output partitions of one task, whose rebuild and cut are in ``found``.

    ``since``: differences before this time, micros, are left out. If something differs, the task runs once
    more to find the records of the rows.
    """

    def __init__(self, basis: Basis, found: Verdict, since: int) -> None:
        self._basis, self._source = basis, basis.source
        self.found, self.since = found, since
        self.own = found.task.account_id.encode() if found.task.account_id else None

    def differences(self, part: Part, held: TopicRows) -> Iterator[Difference]:
        """Where the rows of ``part`` differ from the rebuilt ones."""
        name, partition = part
        for offset in held.unreadable[:MOST]:
            yield Difference(Kind.UNREADABLE, name, partition, "", "", f"the record at offset {offset}")
        conflicts = held.rows.conflicts()
        for row_id in conflicts[:MOST]:
            yield _conflict(self._source, part, self.own, row_id)
        every = held.rows.differences(self.found.result.outputs[part])
        odd = [each for each in every if each.event_id not in conflicts][:MOST]
        if not odd:
            return
        bounds = self._source.ends([name])[part]
        blocks = self._source.stream(part, *bounds)
        located = {each.row_id: each for each in locate(blocks, {d.event_id for d in odd}, self.own)}
        rebuilt = self._find(part, {each.event_id for each in odd if each.theirs is not None})
        for each in odd:
            live, other = located.get(each.event_id), rebuilt.get(each.event_id)
            if not self._counts(live or other):
                continue
            if each.theirs is None and live is not None:
                if self._is_due(live):
                    yield _difference(Kind.EXTRA, part, each.event_id, live, self._extra(live))
            elif live is None:
                yield _difference(Kind.MISSING, part, each.event_id, other, "only the rebuild has it")
            else:
                yield _difference(Kind.CHANGED, part, each.event_id, live, _told(name, live, other))

    def _find(self, part: Part, wanted: set[str]) -> dict[str, Located]:
        """The rebuilt records of ``part`` by row id."""
        if not wanted:
            return {}
        located: dict[str, Located] = {}

        def look(block: Block) -> None:
            if block.part == part:
                located.update((each.row_id, each) for each in locate(iter([block]), wanted))

        begin = self.found.begin
        start = begin.start if begin else None
        run_task(
            self.found.task, *self._basis[:3], cut=self.found.cut, start=start, sink=look, spool=TemporaryFile
        )
        return located

    def _counts(self, each: Located | None) -> bool:
        """Whether a difference at this record is to be reported."""
        return each is None or each.message.timestamp * 1000 >= self.since

    def _extra(self, live: Located) -> str:
        """Records that live wrote and the rebuild does not produce.

        Another configuration gives other event ids.
        """
        at, made = f"live wrote it at offset {live.message.offset}", live.body.get("config_digest")
        if made is None or made == self._basis.config.digest:
            return f"{at}; the rebuild does not have it"
        ours = self._basis.config.digest
        return f"{at} under configuration {made}, but the rebuild uses {ours}: name the run's with --config"

    def _is_due(self, live: Located) -> bool:
        """Whether a rebuild to the cut should have given what live wrote."""
        forwarded, begin = self.found.result.watermark, self.found.begin
        if topic(live.message.topic).watermarked and (
            forwarded is None or (live.minute is not None and live.minute >= forwarded)
        ):
            return False
        if live.cause is None:
            return True
        part, offset = live.cause
        first = begin.start.offsets.get(part, 0) if begin else 0
        return part not in self.found.cut or first <= offset < self.found.cut[part]


def _told(name: str, live: Located, rebuilt: Located | None) -> str:
    if rebuilt is None:
        return f"the record at offset {live.message.offset} has another body than the rebuilt one"
    if live.message.key != rebuilt.message.key:
        ours, other = ((e.message.key or b"").decode(errors="replace") for e in (live, rebuilt))
        return f"record key: live {ours}, rebuilt {other}"
    schema = topic(name).schema
    assert schema is not None
    return record_difference(schema, live.body, rebuilt.body)


def _conflict(source: Source, part: Part, own: bytes | None, row_id: str) -> Difference:
    bounds = source.ends([part[0]])[part]
    both = list(locate(source.stream(part, *bounds), {row_id}, own))
    first = both[0]
    other = next((e for e in both if e.body != first.body or e.message.key != first.message.key), first)
    schema = topic(part[0]).schema
    assert schema is not None
    where = f"offsets {first.message.offset} and {other.message.offset} hold two bodies"
    told = record_difference(schema, first.body, other.body).replace("rebuilt", "later")
    return _difference(Kind.CONFLICT, part, row_id, first, f"{where}: {told}")


def _difference(kind: Kind, part: Part, row_id: str, at: Located | None, detail: str) -> Difference:
    key = (at.message.key or b"").decode(errors="replace") if at is not None else ""
    event_id = str(at.body["event_id"]) if at is not None else row_id
    return Difference(kind, part[0], part[1], key, event_id, detail)
