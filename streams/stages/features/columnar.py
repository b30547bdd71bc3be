"""bars -> features in columns: the features stage's own kernel over whole blocks."""

import numpy as np

from tapedeck.schemas.columns import NULL, Columns
from tapedeck.schemas.columns.layout import symbols
from tapedeck.streams.blocks import Block, Ints
from tapedeck.streams.columnar.arrays import Interner, event_ids
from tapedeck.streams.columnar.block_columns import ids_in, read_columns
from tapedeck.streams.columnar.job import Job, Result
from tapedeck.streams.columnar.join import BlockMerge
from tapedeck.streams.columnar.outs import Outs, encoded
from tapedeck.streams.columnar.texts import Texts
from tapedeck.streams.frame import Value
from tapedeck.streams.identity import RULES_VERSION
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.features import layout as L
from tapedeck.streams.stages.features.stage import PRICES, REASONS, FeaturesStage, Window
from tapedeck.topics.catalogue import WATERMARK_KEY

_STATES = symbols("features", "or_state")
_OR_STATE = np.array([_STATES.index(state) for state in L.OR_STATES], dtype=np.int64)


class _Key:
    """One (feed, symbol): its open window and its cursor."""

    def __init__(self, window: Window, touched: bool, cursor: int, epoch: int) -> None:
        self.window, self.touched, self.cursor, self.epoch = window, touched, cursor, epoch


class FeaturesFold:
    """The features stage over one partition."""

    def __init__(self, stage: FeaturesStage, job: Job) -> None:
        self._stage, self._job, self._home = stage, job, job.task.home
        self._feeds, self._symbols = Interner(), Interner()
        self._stored = {key: value for (_, key), value in job.stored().items() if key != WATERMARK_KEY}
        self._keys: dict[tuple[int, int], _Key] = {}
        self._counts = job.result.counts

    def run(self) -> Result:
        """Fold everything up to the cut."""
        merge = BlockMerge.of(self._job)
        for stretch in merge.stretches():
            (piece,) = stretch.trigger
            outs = self._fold(piece.block, piece.placed(self._counts).rows)
            self._job.put(outs, piece.block, stretch.forwards)
        return merge.finish(self._job, self._values())

    def _fold(self, block: Block, rows: Ints) -> list[Outs]:
        """Fold the records at ``rows`` of ``block``; returns features, and late bars if there are any."""
        bars, rows = read_columns(block, rows, self._counts)
        if not len(rows):
            return []
        feeds = self._feeds.ids_of(bars.data, bars.spans["feed"])
        names = self._symbols.ids_of(bars.data, bars.spans["symbol"])
        numbers = feeds * (len(self._symbols.texts) + 1) + names
        order = np.argsort(numbers, kind="stable")
        starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
        times = np.stack([bars.ints["t"], bars.ints["revision"]], axis=1)
        in_sessions = self._stage.in_sessions(times)
        prices = np.stack([bars.floats[name] for name in PRICES], axis=1)
        metas, values, late = [], [], []
        for group in np.split(order, starts[1:]):
            key = self._key(int(feeds[group[0]]), int(names[group[0]]))
            mine = self._unseen(key, group, block.offsets[rows[group]])
            status, meta, out = self._stage.fold(key.window, in_sessions[mine], prices[mine])
            meta[:, L.M_CAUSE] = mine[meta[:, L.M_CAUSE]]
            metas.append(meta)
            values.append(out)
            late.append(mine[status == L.LATE])
            key.touched |= self._count(status)
        outs = [self._features(bars, rows, np.concatenate(metas), np.concatenate(values))]
        behind = np.sort(np.concatenate(late))
        if len(behind):
            outs.append(self._late(bars, rows, behind))
        return outs

    def _values(self) -> dict[tuple[int, bytes], Value]:
        """The table's values as the shell would have written them."""
        found = {(self._home, key): value for key, value in self._stored.items()}
        for (feed, symbol), key in self._keys.items():
            body = key.window[0].tobytes() if key.touched else b""
            name = self._feeds.texts[feed] + b"|" + self._symbols.texts[symbol]
            found[self._home, name] = Value(key.epoch, {(0, self._home): key.cursor}, body)
        return found

    def _key(self, feed: int, symbol: int) -> _Key:
        found = self._keys.get((feed, symbol))
        if found is None:
            name = self._feeds.texts[feed] + b"|" + self._symbols.texts[symbol]
            stored = self._stored.get(name, Value(self._job.epoch, {}, b""))
            cursor = stored.cursors.get((0, self._home), -1)
            window = self._stage.open(stored.body or None)
            found = self._keys[feed, symbol] = _Key(window, bool(stored.body), cursor, stored.epoch)
        return found

    def _unseen(self, key: _Key, mine: Ints, offsets: Ints) -> Ints:
        fresh = mine[offsets > key.cursor]
        self._counts["DUPLICATE"] += len(mine) - len(fresh)
        key.cursor = max(key.cursor, int(offsets[-1]))
        return fresh

    def _count(self, status: Ints) -> bool:
        """Count the bars without an output; returns whether anything reached the window."""
        dropped = 0
        for code, reason in REASONS.items():
            n = int((status == code).sum())
            if n:
                self._counts[reason] += n
                dropped += n
        self._counts["IN"] += len(status)
        return dropped < len(status)

    def _features(self, bars: Columns, rows: Ints, meta: Ints, values: L.Floats) -> Outs:
        order = np.argsort(meta[:, L.M_CAUSE], kind="stable")
        meta, values = meta[order], values[order]
        causes = meta[:, L.M_CAUSE]
        feeds, names, inputs = (bars.spans[f][causes] for f in ("feed", "symbol", "event_id"))
        t = meta[:, L.M_T]
        parts = np.stack([feeds, names], axis=1)
        digest = self._stage.config_digest
        ids = event_ids("features", digest, bars.data, parts, t, meta[:, L.M_REVISION], inputs[:, np.newaxis])
        texts = Texts(bars.data)
        constants = {"config_digest": texts.constant(digest), "rules_version": texts.constant(RULES_VERSION)}
        id_spans = texts.ids(ids)
        input_spans = texts.arrays(bars.data, inputs[:, np.newaxis])
        made = Columns.empty("features", len(meta), texts.whole())
        spans = {"event_id": id_spans, "inputs": input_spans, "symbol": names, "feed": feeds} | constants
        for name, span in spans.items():
            made.spans[name][:] = span
        as_of = t + MINUTE_US
        ints = {
            "event_time": as_of, "t": t, "as_of": as_of, "revision": meta[:, L.M_REVISION],
            "bar_revision": meta[:, L.M_BAR_REVISION], "session_date": meta[:, L.M_DATE],
            "bars": meta[:, L.M_BARS], "ready": meta[:, L.M_READY], "crosses_session": meta[:, L.M_CROSSES],
            "suspect_split": meta[:, L.M_SPLIT], "trend_state": _whole(values[:, L.V_TREND]),
            "volume_surge": _whole(values[:, L.V_SURGE]), "or_state": _or_state(values[:, L.V_OR_STATE]),
        }  # fmt: skip
        for name, column in ints.items():
            made.ints[name][:] = column
        for name, place in L.NUMBERS.items():
            made.floats[name][:] = values[:, place]
        self._counts["OUT:features"] += len(meta)
        return encoded(("features", self._home), made, "symbol", ids, rows[causes])

    def _late(self, bars: Columns, rows: Ints, behind: Ints) -> Outs:
        self._counts["OUT:bars.late"] += len(behind)
        made = bars.take(behind)
        ids = ids_in(made, "event_id")
        return encoded(("bars.late", self._home), made, "symbol", ids, rows[behind])


def _whole(values: L.Floats) -> Ints:
    """Whole numbers, NaN as null."""
    known = ~np.isnan(values)
    found = np.full(len(values), NULL, dtype=np.int64)
    found[known] = values[known].astype(np.int64)
    return found


def _or_state(values: L.Floats) -> Ints:
    found = _whole(values)
    known = found != NULL
    found[known] = _OR_STATE[found[known]]
    return found
