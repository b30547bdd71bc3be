"""Digests of outputs and state, live and rebuilt: the proof that a rebuild gives what live gave."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from tapedeck.streams.config.document import Config
from tapedeck.streams.digests import OutputDigest, first_difference, of_messages, of_state
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.topology import Topology
from tapedeck.tape.rebuild.whole import Rebuilt, rebuild_account, rebuild_stage
from tapedeck.tape.recording import Recording

STATE = "state"


@dataclass(frozen=True, kw_only=True)
class DigestLine:
    """One output topic, or the table, of one stage or account.

    ``what`` is a topic or ``state``; ``records`` counts event_ids or keys. ``rebuilt`` is None if nothing
    was rebuilt; ``differs_at`` names the first key that only one side has. ``conflicts`` counts event_ids
    that have two bodies in the topic.
    """

    stage: str
    what: str
    records: int
    live: str
    rebuilt: str | None = None
    differs_at: str | None = None
    conflicts: int = 0

    @property
    def agrees(self) -> bool:
        """Whether live has one body per event_id and equals the rebuild, if there was one."""
        return not self.conflicts and self.rebuilt in (None, self.live)


def digest_lines(
    topology: Topology, recording: Recording, config: Config, calendar: Calendar, *, rebuild: bool
) -> Iterator[DigestLine]:
    """A line per output and table of every market stage, then of every configured account."""
    for spec in topology.market:
        rebuilt = rebuild_stage(spec, recording, config, calendar) if rebuild else None
        outputs = {topic: recording[topic].digest for topic in spec.outputs}
        yield from _lines(spec.name, outputs, dict(recording.tables[spec.name]), rebuilt)
    for spec, account in product(topology.accounts, config.accounts):
        account_id = account.account_id
        rebuilt = rebuild_account(spec, account_id, recording, config, calendar) if rebuild else None
        outputs = {topic: _of_account(recording, topic, account_id) for topic in spec.outputs}
        own = {k: v for k, v in recording.tables[spec.name].items() if k == account_id.encode()}
        yield from _lines(f"{spec.name} {account_id}", outputs, own, rebuilt)


def nothing_to_compare(
    topology: Topology, lines: Iterable[DigestLine], recording: Recording
) -> dict[str, str]:
    """Why there is nothing to compare, by stage or account whose input, outputs and table are all empty."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts[line.stage] += line.records
    return {
        stage: f"{name} has no record {'of it' if account_id else 'that can be read'}"
        for stage, records in counts.items()
        if not records
        for name, account_id in [_trigger_of(topology, stage)]
        if not _has_input(recording, name, account_id)
    }


def _trigger_of(topology: Topology, stage: str) -> tuple[str, str]:
    """The topic that triggers a line's stage, and the account if it belongs to one."""
    name, _, account_id = stage.partition(" ")
    return topology.stage(name).trigger, account_id


def _has_input(recording: Recording, name: str, account_id: str) -> bool:
    bodies = recording[name].bodies.values()
    return any(not account_id or body["account_id"] == account_id for body in bodies)


def _of_account(recording: Recording, topic: str, account_id: str) -> OutputDigest:
    own = account_id.encode()
    messages = recording[topic].messages
    return of_messages(topic, (m for m in messages if (m.key or b"").split(b"|")[0] == own))


def _lines(
    stage: str, outputs: dict[str, OutputDigest], table: dict[bytes, bytes], rebuilt: Rebuilt | None
) -> Iterator[DigestLine]:
    for topic, live in outputs.items():
        other = rebuilt.outputs[topic] if rebuilt else None
        at = live.first_difference(other) if other is not None else None
        yield DigestLine(
            stage=stage,
            what=topic,
            records=len(live),
            live=live.hexdigest(),
            rebuilt=other.hexdigest() if other is not None else None,
            differs_at=f"key {at[0].decode(errors='replace')}, event_id {at[1]}" if at else None,
            conflicts=len(set(live.conflicts)),
        )
    key = first_difference(table, rebuilt.values) if rebuilt else None
    yield DigestLine(
        stage=stage,
        what=STATE,
        records=len(table),
        live=of_state(table),
        rebuilt=rebuilt.state if rebuilt else None,
        differs_at=f"key {key.decode(errors='replace')}" if key is not None else None,
    )
