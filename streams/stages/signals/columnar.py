"""features and memberships -> decisions in columns: the signals stage's own kernel over whole blocks."""

from dataclasses import dataclass

import numpy as np

from tapedeck.schemas.columns import Columns
from tapedeck.streams.blocks import Block, Ints
from tapedeck.streams.columnar.arrays import Interner
from tapedeck.streams.columnar.block_columns import read_columns
from tapedeck.streams.columnar.job import Job, Result
from tapedeck.streams.columnar.join import BlockMerge, Piece
from tapedeck.streams.columnar.outs import Outs
from tapedeck.streams.frame import Value
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.base import Body
from tapedeck.streams.stages.signals import fold_kernel as kernel
from tapedeck.streams.stages.signals.columnar_decisions import Answered, Decisions
from tapedeck.streams.stages.signals.fold import SignalsState
from tapedeck.streams.stages.signals.reasons import SignalDrop
from tapedeck.streams.stages.signals.rule_kernel import Floats
from tapedeck.streams.stages.signals.stage import NUMBERS, SignalsStage
from tapedeck.topics.catalogue import WATERMARK_KEY

_DROPS = (
    (kernel.SAME_ACTION, SignalDrop.SAME_ACTION),
    (kernel.DUPLICATE, SignalDrop.DUPLICATE),
    (kernel.TOO_OLD, SignalDrop.TOO_OLD),
)

_NOT_JOINED = ((kernel.REPEATED, SignalDrop.DUPLICATE), (kernel.SUPERSEDED, SignalDrop.SUPERSEDED))


@dataclass
class _Key:
    """One symbol: its open state, the current membership, its cursors by (input rank, partition)."""

    state: SignalsState
    member: Body | None
    cursors: dict[tuple[int, int], int]
    epoch: int


@dataclass(frozen=True)
class Members:
    """Membership rows of one block: the feature minutes from which they apply, their offsets, the numbers of
    their keys, and the records."""

    minutes: Ints
    offsets: Ints
    keys: Ints
    records: Columns


class SignalsBulk:
    """The signals stage over one partition."""

    def __init__(self, stage: SignalsStage, job: Job) -> None:
        self._stage, self._job, self._home = stage, job, job.task.home
        self._counts = job.result.counts
        self._stored = {key: value for (_, key), value in job.stored().items() if key != WATERMARK_KEY}
        self._names, self._feeds = Interner(), Interner()
        self._keys: dict[int, _Key] = {}
        self._trigger, self._join = (0, self._home), (1, self._home)
        self._decisions = Decisions(stage, self._home)

    def run(self) -> Result:
        """Fold everything up to the cut, as far as the memberships reach."""
        merge = BlockMerge.of(self._job)
        nothing = Piece(Block.empty("features", self._home), _EMPTY, _EMPTY)
        for stretch in merge.stretches():
            joined = [self._members(piece) for piece in stretch.joins.get("memberships", ())]
            (piece,) = stretch.trigger or [nothing]  # the last memberships count even if no feature follows
            outs = self._fold_rows(piece.placed(self._counts), joined)
            self._job.put(outs, piece.block, stretch.forwards)
        return merge.finish(self._job, self._values())

    def _members(self, piece: Piece) -> Members:
        """The memberships of ``piece`` that can be decoded."""
        block = piece.block
        records, rows = read_columns(block, piece.rows, self._counts)
        keys = self._names.ids_of(block.data, block.keys[rows])
        minutes = piece.minutes[np.searchsorted(piece.rows, rows)]
        return Members(minutes, block.offsets[rows], keys, records)

    def _fold_rows(self, piece: Piece, joined: list[Members]) -> list[Outs]:
        block = piece.block
        features, rows = read_columns(block, piece.rows, self._counts)
        now = piece.minutes[np.searchsorted(piece.rows, rows)] + MINUTE_US
        names = self._names.ids_of(block.data, block.keys[rows])
        feeds = self._feeds.ids_of(features.data, features.spans["feed"])
        bars, values = _matrices(features, now)
        answered = Answered(block, rows, features, now, [each.records for each in joined])
        for number in np.unique(np.concatenate([names, *(each.keys for each in joined)])).tolist():
            key = self._key(number)
            mine = np.flatnonzero(names == number)
            mine = mine[block.offsets[rows[mine]] > key.cursors.get(self._trigger, -1)]
            joins = self._unseen(key, number, joined)
            self._fold_key(key, mine, joins, answered, (bars, values, feeds))
        self._count(answered)
        return self._decisions.of(answered) if len(rows) else []

    def _fold_key(
        self, key: _Key, mine: Ints, joins: "_Joins", answered: "Answered", arrays: tuple[Ints, Floats, Ints]
    ) -> None:
        """Fold the feature rows ``mine`` and the membership rows ``joins`` of one symbol."""
        bars, values, feeds = arrays
        seen = np.unique(feeds[mine]).tolist()
        places = {feed: key.state.place_of(self._feeds.texts[feed].decode()) for feed in seen}
        own = bars[mine]
        own[:, kernel.I_FEED] = [places[feed] for feed in feeds[mine].tolist()]
        now = own[:, kernel.I_NOW] - MINUTE_US
        own[:, kernel.I_JOINS] = np.searchsorted(joins.minutes, now, side="right")
        answers = self._stage.fold.fold(key.state, own, values[mine], joins.rows)
        held = answered.hold(key.member)
        members = np.concatenate([joins.places, [held]])  # NONE indexes the last one, which was held before
        answered.put(mine, answers, members[answers.rows[:, kernel.O_MEMBER]])
        joined = np.flatnonzero(answers.joined == kernel.JOINED)
        if len(joined):
            key.member = answered.member(int(joins.places[joined[-1]]))
        for did, reason in (
            (kernel.REPEATED, SignalDrop.DUPLICATE),
            (kernel.SUPERSEDED, SignalDrop.SUPERSEDED),
        ):
            self._counts[reason] += int((answers.joined == did).sum())
        if len(mine):
            offsets = answered.block.offsets[answered.rows[mine]]
            key.cursors[self._trigger] = int(offsets[-1])
        if len(joins.rows):
            key.cursors[self._join] = joins.cursor
        self._counts["IN"] += len(mine) + len(joins.rows)

    def _unseen(self, key: _Key, number: int, joined: list[Members]) -> "_Joins":
        """The membership rows of one key that its cursor has not passed yet."""
        cursor = key.cursors.get(self._join, -1)
        minutes, rows, places, offset = [], [], [], 0
        for each in joined:
            mine = np.flatnonzero((each.keys == number) & (each.offsets > cursor))
            ints = each.records.ints
            minutes.append(each.minutes[mine])
            rows.append(np.stack([ints["event_time"][mine], ints["on_watchlist"][mine]], axis=1))
            places.append(mine + offset)
            cursor = int(each.offsets[mine[-1]]) if len(mine) else cursor
            offset += len(each.keys)
        if not joined:
            return _Joins(_EMPTY, np.empty((0, kernel.MEMBER), dtype=np.int64), _EMPTY, cursor)
        return _Joins(np.concatenate(minutes), np.concatenate(rows), np.concatenate(places), cursor)

    def _key(self, number: int) -> _Key:
        found = self._keys.get(number)
        if found is None:
            stored = self._stored.get(self._names.texts[number], Value(self._job.epoch, {}, b""))
            state = self._stage.fold.open(stored.body or None)
            found = _Key(state, state.membership, dict(stored.cursors), stored.epoch)
            self._keys[number] = found
        return found

    def _values(self) -> dict[tuple[int, bytes], Value]:
        """The table's values as the shell would have written them."""
        found = {(self._home, key): value for key, value in self._stored.items()}
        for number, key in self._keys.items():
            body = self._stage.fold.close(key.state, key.member)
            found[self._home, self._names.texts[number]] = Value(key.epoch, key.cursors, body)
        return found

    def _count(self, answered: "Answered") -> None:
        given = answered.codes[:, kernel.O_GAVE]
        for code, reason in _DROPS:
            self._counts[reason] += int((given == code).sum())


_EMPTY = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class _Joins:
    """Membership rows of one key: minutes, the kernel's columns, their places among all, the cursor."""

    minutes: Ints
    rows: Ints
    places: Ints
    cursor: int


def _matrices(features: Columns, now: Ints) -> tuple[Ints, Floats]:
    """The kernel's columns of feature rows; feed and joins are the key's own and are filled later."""
    ints = features.ints
    columns = {
        kernel.I_T: ints["t"], kernel.I_REVISION: ints["revision"], kernel.I_AS_OF: ints["as_of"],
        kernel.I_NOW: now, kernel.I_SESSION_DATE: ints["session_date"], kernel.I_READY: ints["ready"],
        kernel.I_SPLIT: ints["suspect_split"], kernel.I_TREND: ints["trend_state"],
    }  # fmt: skip
    bars = np.zeros((len(features), kernel.INTS), dtype=np.int64)
    for place, column in columns.items():
        bars[:, place] = column
    return bars, np.stack([features.floats[name] for name in NUMBERS], axis=1)
