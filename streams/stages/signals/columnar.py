"""features and what they join -> decisions in columns: the signals stage's own kernel over whole blocks."""

from collections.abc import Iterable, Mapping, Sequence
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
from tapedeck.streams.stages.signals.fold import SignalsState, window_rows
from tapedeck.streams.stages.signals.reasons import SignalDrop
from tapedeck.streams.stages.signals.rule_kernel import Floats
from tapedeck.streams.stages.signals.stage import NUMBERS, WINDOW, SignalsStage
from tapedeck.topics.catalogue import WATERMARK_KEY

_DROPS = (
    (kernel.SAME_ACTION, SignalDrop.SAME_ACTION),
    (kernel.DUPLICATE, SignalDrop.DUPLICATE),
    (kernel.TOO_OLD, SignalDrop.TOO_OLD),
)

_NOT_JOINED = ((kernel.REPEATED, SignalDrop.DUPLICATE), (kernel.SUPERSEDED, SignalDrop.SUPERSEDED))
MEMBERS, WINDOWS = JOINS = ("memberships", "sentiment_windows")


@dataclass
class _Key:
    """One symbol: its open state, the newest membership and the newest window's event_id, its cursors by
    (input rank, partition)."""

    state: SignalsState
    member: Body | None
    window: str | None
    cursors: dict[tuple[int, int], int]
    epoch: int


@dataclass(frozen=True)
class Joined:
    """Joined rows of one block: the feature minutes from which they apply, their offsets, the numbers of
    their keys, the records, and the kernel's rows of them."""

    minutes: Ints
    offsets: Ints
    keys: Ints
    records: Columns
    rows: Ints


class SignalsBulk:
    """The signals stage over one partition."""

    def __init__(self, stage: SignalsStage, job: Job) -> None:
        self._stage, self._job, self._home = stage, job, job.task.home
        self._counts = job.result.counts
        self._stored = {key: value for (_, key), value in job.stored().items() if key != WATERMARK_KEY}
        self._names, self._feeds = Interner(), Interner()
        self._keys: dict[int, _Key] = {}
        ranks = {name: rank for rank, name in enumerate(job.spec.inputs)}
        self._trigger = (0, self._home)
        self._joins = {name: (ranks[name], self._home) for name in JOINS if name in ranks}
        self._decisions = Decisions(stage, self._home)

    def run(self) -> Result:
        """Fold everything up to the cut, as far as the joined inputs reach."""
        merge = BlockMerge.of(self._job)
        nothing = Piece(Block.empty("features", self._home), _EMPTY, _EMPTY)
        for stretch in merge.stretches():
            joined = {name: [self._joined(each) for each in stretch.joins.get(name, ())] for name in JOINS}
            (piece,) = stretch.trigger or [nothing]  # the last joined rows count even if no feature follows
            outs = self._fold_rows(piece.placed(self._counts), joined)
            self._job.put(outs, piece.block, stretch.forwards)
        return merge.finish(self._job, self._values())

    def _joined(self, piece: Piece) -> Joined:
        """The records of ``piece`` that can be decoded."""
        block = piece.block
        records, rows = read_columns(block, piece.rows, self._counts)
        keys = self._names.ids_of(block.data, block.keys[rows])
        minutes = piece.minutes[np.searchsorted(piece.rows, rows)]
        return Joined(minutes, block.offsets[rows], keys, records, _ROWS[block.topic](records))

    def _fold_rows(self, piece: Piece, joined: Mapping[str, Sequence[Joined]]) -> list[Outs]:
        block = piece.block
        features, rows = read_columns(block, piece.rows, self._counts)
        now = piece.minutes[np.searchsorted(piece.rows, rows)] + MINUTE_US
        names = self._names.ids_of(block.data, block.keys[rows])
        feeds = self._feeds.ids_of(features.data, features.spans["feed"])
        bars, values = _matrices(features, now)
        records = ([each.records for each in joined[name]] for name in JOINS)
        answered = Answered(block, rows, features, now, records)
        keys = [names, *(each.keys for name in JOINS for each in joined[name])]
        for number in np.unique(np.concatenate(keys)).tolist():
            key = self._key(number)
            mine = np.flatnonzero(names == number)
            mine = mine[block.offsets[rows[mine]] > key.cursors.get(self._trigger, -1)]
            joins = {name: self._unseen(key, number, name, joined[name]) for name in JOINS}
            self._fold_key(key, mine, joins, answered, (bars, values, feeds))
        self._count(answered)
        return self._decisions.of(answered) if len(rows) else []

    def _fold_key(
        self,
        key: _Key,
        mine: Ints,
        joins: Mapping[str, "_Unseen"],
        answered: Answered,
        arrays: tuple[Ints, Floats, Ints],
    ) -> None:
        """Fold the feature rows ``mine`` and the joined rows ``joins`` of one symbol."""
        bars, values, feeds = arrays
        members, windows = (joins[name] for name in JOINS)
        seen = np.unique(feeds[mine]).tolist()
        places = {feed: key.state.place_of(self._feeds.texts[feed].decode()) for feed in seen}
        own = bars[mine]
        own[:, kernel.I_FEED] = [places[feed] for feed in feeds[mine].tolist()]
        now = own[:, kernel.I_NOW] - MINUTE_US
        own[:, kernel.I_MEMBERS] = np.searchsorted(members.minutes, now, side="right")
        own[:, kernel.I_WINDOWS] = np.searchsorted(windows.minutes, now, side="right")
        answers = self._stage.fold.fold(key.state, own, values[mine], members.rows, windows.rows)
        answered.put(mine, answers, (members.places, windows.places), (key.member, key.window))
        if len(last := np.flatnonzero(answers.joined == kernel.JOINED)):
            key.member = answered.memberships[members.places[last[-1]]]
        if len(last := np.flatnonzero(answers.windowed == kernel.JOINED)):
            key.window = answered.windows[windows.places[last[-1]]]
        did = np.concatenate([answers.joined, answers.windowed])
        for code, reason in _NOT_JOINED:
            self._counts[reason] += int((did == code).sum())
        if len(mine):
            offsets = answered.block.offsets[answered.rows[mine]]
            key.cursors[self._trigger] = int(offsets[-1])
        for name, each in joins.items():
            if len(each.rows):
                key.cursors[self._joins[name]] = each.cursor
        self._counts["IN"] += len(mine) + len(did)

    def _unseen(self, key: _Key, number: int, name: str, joined: Iterable[Joined]) -> "_Unseen":
        """The rows of a joined topic of one key that its cursor has not passed yet."""
        cursor = key.cursors.get(self._joins[name], -1) if name in self._joins else -1
        minutes, rows, places, offset = [_EMPTY], [_NO_ROWS[name]], [_EMPTY], 0
        for each in joined:
            mine = np.flatnonzero((each.keys == number) & (each.offsets > cursor))
            minutes.append(each.minutes[mine])
            rows.append(each.rows[mine])
            places.append(mine + offset)
            cursor = int(each.offsets[mine[-1]]) if len(mine) else cursor
            offset += len(each.keys)
        return _Unseen(np.concatenate(minutes), np.concatenate(rows), np.concatenate(places), cursor)

    def _key(self, number: int) -> _Key:
        found = self._keys.get(number)
        if found is None:
            stored = self._stored.get(self._names.texts[number], Value(self._job.epoch, {}, b""))
            state = self._stage.fold.open(stored.body or None)
            found = _Key(state, state.membership, state.window, dict(stored.cursors), stored.epoch)
            self._keys[number] = found
        return found

    def _values(self) -> dict[tuple[int, bytes], Value]:
        """The table's values as the shell would have written them."""
        found = {(self._home, key): value for key, value in self._stored.items()}
        for number, key in self._keys.items():
            body = self._stage.fold.close(key.state, key.member, key.window)
            found[self._home, self._names.texts[number]] = Value(key.epoch, key.cursors, body)
        return found

    def _count(self, answered: Answered) -> None:
        given = answered.codes[:, kernel.O_GAVE]
        for code, reason in _DROPS:
            self._counts[reason] += int((given == code).sum())


_EMPTY = np.empty(0, dtype=np.int64)
_NO_ROWS = {
    MEMBERS: np.empty((0, kernel.MEMBER), dtype=np.int64),
    WINDOWS: np.empty((0, kernel.WINDOW), dtype=np.int64),
}


@dataclass(frozen=True)
class _Unseen:
    """Joined rows of one key: minutes, the kernel's columns, their places among all, the cursor."""

    minutes: Ints
    rows: Ints
    places: Ints
    cursor: int


def _of_members(records: Columns) -> Ints:
    ints = records.ints
    return np.stack([ints["event_time"], ints["on_watchlist"]], axis=1)


def _of_windows(records: Columns) -> Ints:
    time, n, avg = WINDOW
    return window_rows(records.ints[time], records.ints[n], records.floats[avg])


_ROWS = {MEMBERS: _of_members, WINDOWS: _of_windows}


def _matrices(features: Columns, now: Ints) -> tuple[Ints, Floats]:
    """The kernel's columns of feature rows; what is the key's own is filled later."""
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
