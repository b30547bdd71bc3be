"""What a block of features gave: decisions as columns, the rare signals and audits one by one."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tapedeck.schemas.columns import NULL, Columns, symbols
from tapedeck.streams.blocks import Block, Ints
from tapedeck.streams.columnar.arrays import event_ids
from tapedeck.streams.columnar.block_columns import bodies_of
from tapedeck.streams.columnar.outs import Outs, encoded, one_by_one
from tapedeck.streams.columnar.texts import Texts
from tapedeck.streams.config.accounts import Action
from tapedeck.streams.identity import RULES_VERSION
from tapedeck.streams.protocol import Out, Row
from tapedeck.streams.stages.base import Body
from tapedeck.streams.stages.signals import fold_kernel as kernel
from tapedeck.streams.stages.signals.fold import Answers
from tapedeck.streams.stages.signals.rule import ACTIONS, DIRECTIONS, REASONS, STRATEGIES, Factors, from_codes
from tapedeck.streams.stages.signals.rule_kernel import NONE
from tapedeck.streams.stages.signals.stage import MEMBERSHIP, SNAPSHOT, SignalsStage, mood_of

T = TypeVar("T")

_HOLD = ACTIONS.index(Action.HOLD)
_ACTION = np.array([symbols("decisions", "action").index(str(each)) for each in ACTIONS])
_DIRECTION = np.array([*(symbols("decisions", "direction").index(str(each)) for each in DIRECTIONS), NULL])
_COPIED_INTS = ("bar_revision", "as_of", "trend_state")


class Answered:
    """The rows of one block with the kernel's answers and what each was judged on.

    ``rows`` int64 (n): indices into ``block``; ``codes`` int64 (n, ANSWER), ``numbers`` float64
    (n, CONFIDENCES); ``members`` and ``moods`` int64 (n): indices into ``memberships`` and into ``windows``,
    the event_ids of windows; NONE for none.
    """

    def __init__(
        self, block: Block, rows: Ints, features: Columns, now: Ints, joined: Iterable[Iterable[Columns]]
    ) -> None:
        self.block, self.rows, self.features, self.now = block, rows, features, now
        n = len(rows)
        self.codes = np.full((n, kernel.ANSWER), NONE, dtype=np.int64)
        self.numbers = np.full((n, kernel.CONFIDENCES), np.nan)
        self.members, self.moods = (np.full(n, NONE, dtype=np.int64) for _ in range(2))
        memberships, windows = joined
        self.memberships: list[Body] = [b for each in memberships for b in bodies_of(each, MEMBERSHIP)]
        self.windows: list[str] = [str(id_) for each in windows for id_ in each.strings("event_id")]

    def put(
        self,
        mine: Ints,
        answers: Answers,
        joined: tuple[Ints, Ints],
        held: tuple[Body | None, str | None],
    ) -> None:
        """Store the answers of the rows ``mine`` of one symbol.

        ``joined``: the places of its memberships and windows in this block, by which the answers name them;
        ``held``: the newest ones before the block.
        """
        member, window = _appended(self.memberships, held[0]), _appended(self.windows, held[1])
        members = np.concatenate([joined[0], [NONE, member]])
        windows = np.concatenate([joined[1], [NONE, window]])
        self.codes[mine], self.numbers[mine] = answers.rows, answers.numbers
        # counted from the end, NONE is what was held and NO_WINDOW is none
        self.members[mine] = members[answers.rows[:, kernel.O_MEMBER]]
        self.moods[mine] = windows[answers.rows[:, kernel.O_WINDOW]]


def _appended(to: list[T], each: T | None) -> int:
    """The index of ``each`` once it is appended; NONE where there is none."""
    if each is None:
        return NONE
    to.append(each)
    return len(to) - 1


@dataclass(frozen=True)
class Decisions:
    """Makes the outputs of one partition."""

    stage: SignalsStage
    home: int

    def of(self, answered: Answered) -> list[Outs]:
        """Decisions, and where there are any signals and audits."""
        given = answered.codes[:, kernel.O_GAVE]
        decided = np.flatnonzero(given == kernel.DECIDED)
        outs = [self._decisions(answered, decided)] if len(decided) else []
        acted = decided[answered.codes[decided, kernel.O_ACTION] != _HOLD]
        signals = [self._signal(answered, row) for row in acted.tolist()]
        audits = [self._audit(answered, row) for row in np.flatnonzero(given == kernel.AUDITED).tolist()]
        return outs + [one_by_one(made, self.home) for made in (signals, audits) if made]

    def _signal(self, answered: Answered, row: int) -> Out:
        decision = from_codes(
            (
                *answered.codes[row, kernel.O_ACTION : kernel.O_OLD_ACTION].tolist(),
                *answered.numbers[row].tolist(),
            )
        )
        member, window = int(answered.members[row]), int(answered.moods[row])
        membership = None if member == NONE else answered.memberships[member]
        mood = mood_of(answered.codes[row].tolist(), None if window == NONE else answered.windows[window])
        cause = int(answered.rows[row])
        _, signal = self.stage.records(cause, _row(answered, row), decision, membership, mood)
        return signal

    def _audit(self, answered: Answered, row: int) -> Out:
        old, new = (ACTIONS[answered.codes[row, column]] for column in (kernel.O_OLD_ACTION, kernel.O_ACTION))
        return self.stage.audit_record(int(answered.rows[row]), answered.features.row(row), old, new)

    def _decisions(self, answered: Answered, decided: Ints) -> Outs:
        features = answered.features.take(decided)
        codes, numbers = answered.codes[decided], answered.numbers[decided]
        texts = Texts(features.data)
        members, windows = _Memberships(answered.memberships, texts), _ids(answered.windows, texts)
        at = answered.members[decided]
        names, feeds, feature_ids = (features.spans[name] for name in ("symbol", "feed", "event_id"))
        inputs = np.stack([feature_ids, members.ids[at], windows[answered.moods[decided]]], axis=1)
        t, data = features.ints["t"], texts.whole()
        digest = self.stage.config_digest
        ids = event_ids(
            "decisions", digest, data, names[:, np.newaxis], t, np.zeros(len(t), dtype=np.int64), inputs
        )
        spans: dict[str, Any] = {
            "event_id": texts.ids(ids),
            "inputs": texts.arrays(data, inputs),
            "symbol": names,
            "feed": feeds,
            "config_digest": texts.constant(digest),
            "rules_version": texts.constant(RULES_VERSION),
            "strategy": _named(texts, STRATEGIES, codes[:, kernel.O_STRATEGY]),
            "reason": _named(texts, REASONS, codes[:, kernel.O_REASON]),
            "watchlist_flag": members.flags[at],
        }
        ints: dict[str, Any] = {
            "event_time": features.ints["as_of"],
            "bar_t": t,
            "now": answered.now[decided],
            "action": _ACTION[codes[:, kernel.O_ACTION]],
            "direction": _DIRECTION[codes[:, kernel.O_DIRECTION]],
            "sentiment_n": codes[:, kernel.O_N],
            "watchlist_rank": members.ranks[at],
            "universe_version": members.versions[at],
        }
        ints |= {name: features.ints[name] for name in _COPIED_INTS}
        floats = {name: features.floats[name] for name in SNAPSHOT if name in features.floats}
        floats["confidence"] = numbers[:, kernel.O_CONFIDENCE]
        floats["sentiment_avg"] = codes[:, kernel.O_AVG] / kernel.MILLIONTHS
        for place, name in enumerate(Factors._fields):
            floats[f"factors.{name}"] = numbers[:, kernel.O_FACTORS + place]
        made = Columns.empty("decisions", len(t), texts.whole())
        for block, columns in ((made.spans, spans), (made.ints, ints), (made.floats, floats)):
            for name, column in columns.items():
                block[name][:] = column
        return encoded(("decisions", self.home), made, "symbol", ids, answered.rows[decided])


class _Memberships:
    """The fields of memberships that decisions record, by index; the last index means no membership."""

    def __init__(self, bodies: list[Body], texts: Texts) -> None:
        n = len(bodies)
        self.ids = _ids([body["event_id"] for body in bodies], texts)
        self.flags = np.full((n + 1, 2), (0, -1), dtype=np.int64)
        self.ranks = np.full(n + 1, NULL, dtype=np.int64)
        self.versions = np.full(n + 1, NULL, dtype=np.int64)
        flags = {flag: texts.constant(flag) for flag in sorted({b["flag"] for b in bodies if b["flag"]})}
        for place, body in enumerate(bodies):
            self.versions[place] = body["universe_version"]
            if body["on_watchlist"]:
                self.ranks[place] = NULL if body["rank"] is None else body["rank"]
                self.flags[place] = flags[body["flag"]] if body["flag"] else (0, -1)


def _ids(ids: list[str], texts: Texts) -> Ints:
    """The spans of event_ids by index, int64 (n + 1, 2); the last index means none."""
    encoded_ids = [each.encode() for each in ids]
    lengths = np.array([len(each) for each in encoded_ids], dtype=np.int64)
    base = texts.add(np.frombuffer(b"".join(encoded_ids), dtype=np.uint8))
    spans = np.full((len(ids) + 1, 2), (0, -1), dtype=np.int64)
    spans[:-1, 0], spans[:-1, 1] = base + np.cumsum(lengths) - lengths, lengths
    return spans


def _row(answered: Answered, row: int) -> Row:
    now = int(answered.now[row])
    key = answered.block.key(int(answered.rows[row])) or b""
    return Row("features", key, answered.features.row(row), now, now)


def _named(texts: Texts, members: tuple[Any, ...], codes: Ints) -> Ints:
    """The spans of enum members' names by code; NONE indexes the last one: null."""
    spans = [*(texts.constant(str(member)) for member in members), (0, -1)]
    return np.array(spans, dtype=np.int64)[codes]
