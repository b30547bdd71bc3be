"""The second opinion: every record that is shown, computed again from what lies on the log before it.

A feature by its stage from the recorded bars, a decision by the signals stage from the recorded features and
memberships, a score from the feature that it names, and whatever an account wrote by folding its recorded
inbox. What comes out is held against what the topic holds, field by field.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.config.document import Config
from tapedeck.streams.contract import MINUTE_US, Message, Out, Row, Stage, StageSpec
from tapedeck.streams.identity import RULES_VERSION
from tapedeck.streams.merge import Merge, Part, Resume
from tapedeck.streams.sessions import Calendar, CalendarUnknown
from tapedeck.streams.shell import Produced, Shell
from tapedeck.streams.sim.task import MemoryStore
from tapedeck.streams.stages.features.stage import FeaturesStage
from tapedeck.streams.topology import Topology, make
from tapedeck.tape.explain.lookup import DAY_US, Found, Lookup, opened
from tapedeck.tape.explain.window import Window, window_of
from tapedeck.topics.catalogue import topic

_PRE_MARKET_US = 6 * 60 * MINUTE_US
_TAKE = 10_000

Body = dict[str, Any]


class Verdict(StrEnum):
    """What a second evaluation says about a record."""

    SAME = "SAME"
    DIFFERENT = "DIFFERENT"
    NOT_EVALUATED = "NOT_EVALUATED"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field that is not the same: as recorded, and as computed again."""

    field: str
    recorded: Any
    again: Any


@dataclass(frozen=True, kw_only=True)
class Check:
    """The second opinion about one record. ``why`` says why it is not SAME."""

    topic: str
    event_id: str
    verdict: Verdict
    differences: tuple[Difference, ...] = ()
    why: str = ""


Outs = Mapping[str, list[Out]]
"""Outputs by topic."""


class Reevaluator:
    """Computes records again under ``config``, reading through ``lookup``."""

    def __init__(self, topology: Topology, lookup: Lookup, config: Config, calendar: Calendar) -> None:
        self._topology = topology
        self._lookup, self._config, self._calendar = lookup, config, calendar
        self._stages: dict[str, Stage] = {}
        self._folds: dict[tuple[object, ...], tuple[int, Outs]] = {}
        self.windows: dict[str, Window] = {}
        """By event_id of a feature: the bars that its window held."""

    def check(self, found: Found) -> Check | None:
        """The second opinion about one record; None for a fact, which nothing here has computed."""
        if "config_digest" not in found.body:
            return None
        why = self._refusal(found)
        if why:
            return self._check(found, Verdict.NOT_EVALUATED, why=why)
        outs = self._again(found)
        if outs is None:
            stage = self._stage_of(found.topic)
            why = (
                f"a {found.topic} record depends on all before it: `tape rebuild {stage} --verify` computes "
                "them"
            )
            return self._check(found, Verdict.NOT_EVALUATED, why=why)
        return self._compare(found, outs.get(found.topic, []))

    def _refusal(self, found: Found) -> str:
        digest, rules = found.body["config_digest"], found.body["rules_version"]
        if digest != self._config.digest:
            return (
                f"the record was made under the configuration {digest}, this is {self._config.digest}: name "
                "its document with --config FILE (`tape config check FILE` prints a document's digest)"
            )
        if rules != RULES_VERSION:
            return (
                f"the record was made by {rules}, this code is {RULES_VERSION}: run the release that made it"
            )
        return ""

    def _again(self, found: Found) -> Outs | None:
        if found.topic == "features":
            return self._features(found)
        if found.topic in ("decisions", "signals", "revision_audit"):
            return self._signals(found)
        if found.topic == "scores":
            return self._score(found)
        return self._account(found) if found.topic in self._topology.account.outputs else None

    def _check(
        self, found: Found, verdict: Verdict, differences: Iterable[Difference] = (), why: str = ""
    ) -> Check:
        return Check(
            topic=found.topic,
            event_id=found.event_id,
            verdict=verdict,
            differences=tuple(differences),
            why=why,
        )

    def _compare(self, found: Found, outs: list[Out]) -> Check:
        same_id = [out for out in outs if out.event_id == found.event_id]
        spec = topic(found.topic)
        natural = [found.body[name] for name in spec.natural_key]
        alike = same_id or [out for out in outs if [out.body[name] for name in spec.natural_key] == natural]
        if not alike:
            return self._check(found, Verdict.DIFFERENT, why="nothing like it comes out")
        again = alike[-1]
        assert spec.schema is not None
        body = decode(spec.schema, encode(spec.schema, again.body))
        changed = [
            Difference(field=name, recorded=found.body.get(name), again=value)
            for name, value in body.items()
            if found.body.get(name) != value
        ]
        if again.record_key != (found.message.key or b""):
            changed.append(Difference(field="record key", recorded=found.message.key, again=again.record_key))
        if changed:
            names = ", ".join(each.field for each in changed)
            return self._check(found, Verdict.DIFFERENT, changed, f"not the same: {names}")
        return self._check(found, Verdict.SAME)

    def _stage_of(self, name: str) -> str:
        return next(spec.name for spec in self._topology if name in spec.outputs)

    def _stage(self, name: str) -> Stage:
        if name not in self._stages:
            self._stages[name] = make(self._topology.stage(name), self._config, self._calendar)
        return self._stages[name]

    def _upto(self, found: Found, trigger: Part) -> int:
        """The offset after the input that caused ``found``; the end where its header does not say."""
        place, _, offset = found.header("tape-cause").rpartition("@")
        named = place == f"{trigger[0]}/{trigger[1]}" and offset.isdecimal()
        return int(offset) + 1 if named else self._lookup.ends(trigger)[1]

    def _session_open(self, t: int, *, previous: bool) -> int:
        """Where the session of ``t`` opens, or the one before it; a day back where the calendar has none."""
        try:
            date = self._calendar.session_date(t)
            session = self._calendar.previous(date) if previous else self._calendar.session_on(date)
        except CalendarUnknown:
            session = None
        return session.open if session else t - (8 if previous else 1) * DAY_US

    def _features(self, found: Found) -> Outs:
        """The bars of the series from the previous session on: older ones are in no window any more."""
        symbol, feed, t = (found.body[name] for name in ("symbol", "feed", "t"))
        part = ("bars", self._lookup.layout.partition("bars", {"symbol": symbol}))
        start = self._lookup.offset_at(part, self._session_open(t, previous=True) - _PRE_MARKET_US)
        upto = self._upto(found, part)
        stage = self._stage("features")
        assert isinstance(stage, FeaturesStage)
        rows = [
            Row("bars", each.message.key or b"", each.body, 0, 0)
            for message in self._lookup.messages(part, start, upto, symbol.encode())
            if (each := opened(message)) is not None and each.body["feed"] == feed
        ]
        step = stage.step(f"{feed}|{symbol}".encode(), None, rows)
        self.windows[found.event_id] = window_of(step.state, t, self._config)
        return _by_topic(step.outs)

    def _signals(self, found: Found) -> Outs:
        """The features and memberships of the symbol from the session's open on, or its cooldown."""
        spec, symbol = self._topology.stage("signals"), found.body["symbol"].encode()
        home = found.message.partition
        part = ("features", home)
        upto = self._upto(found, part)
        cooldown = found.body["bar_t"] - (self._config.signal.cooldown_min + 1) * MINUTE_US
        since = min(self._session_open(found.body["bar_t"], previous=False), cooldown) - MINUTE_US
        known = self._lookup.find(found.body["inputs"], [("memberships", home)], found.time_us)
        since = min([since, *(each.time_us - MINUTE_US for each in known.values())])
        kept = self._folds.get(("signals", home, symbol, since))
        if kept is not None and kept[0] >= upto:
            return kept[1]
        start = self._lookup.offset_at(part, since)
        joined = self._lookup.offset_at(("memberships", home), since)
        labels = {
            at: label
            for at, before in ((part, start), (("memberships", home), joined))
            if (label := self._lookup.last_label(at, before)) is not None
        }
        messages = [
            *self._lookup.messages(part, start, upto, symbol),
            *self._lookup.between(("memberships", home), since, found.time_us + DAY_US, symbol),
        ]
        outs = _fold(spec, self._stage("signals"), home, messages, labels)
        self._folds["signals", home, symbol, since] = (upto, outs)
        return outs

    def _score(self, found: Found) -> Outs:
        """The score of the feature that the record names."""
        symbol, evaluation = found.body["symbol"], found.body["evaluation"]
        part = ("features", self._lookup.layout.partition("features", {"symbol": symbol}))
        inputs = self._lookup.find(found.body["inputs"], [part], found.time_us)
        stage = self._stage("scores")
        rows = [Row("features", symbol.encode(), each.body, 0, 0) for each in inputs.values()]
        state = stage.step(symbol.encode(), None, rows).state
        values = _OneValue(symbol.encode(), state)
        return _by_topic(stage.at_watermark(evaluation - MINUTE_US, 0, values).outs)

    def _account(self, found: Found) -> Outs:
        """The account's inbox from its first record on: its state is all that ever reached it."""
        spec, account_id = self._topology.account, found.body["account_id"]
        part = ("account_inbox", self._lookup.layout.partition("account_inbox", found.body))
        upto = self._upto(found, part)
        kept = self._folds.get(("account", account_id))
        if kept is not None and kept[0] >= upto:
            return kept[1]
        stage = make(spec, self._config, self._calendar, account_id)
        messages = self._lookup.messages(part, self._lookup.ends(part)[0], upto, account_id.encode())
        outs = _fold(spec, stage, part[1], messages, {})
        self._folds["account", account_id] = (upto, outs)
        return outs


class _OneValue:
    """The table of a stage that has seen one key."""

    def __init__(self, key: bytes, state: bytes) -> None:
        self.own: bytes | None = None
        self._pair = (key, state)

    def get(self, key: bytes) -> bytes | None:
        return self._pair[1] if key == self._pair[0] else None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        yield self._pair


def _fold(
    spec: StageSpec, stage: Stage, home: int, messages: Iterable[Message], labels: Mapping[Part, int]
) -> Outs:
    """What a task of ``spec`` gives for ``messages``, each partition's in log order, by topic.

    ``labels`` are the watermarks that stand before the first message of each partition.
    """
    store = MemoryStore()
    shell = Shell(spec, stage, store, home)
    merge = Merge(spec, {name: (home,) for name in spec.inputs}, Resume(labels))
    for message in messages:
        merge.put(message)
    outs: list[Out] = []
    while items := merge.take(_TAKE):
        effects = shell.apply(items)
        outs += [each.out for each in effects.outputs if isinstance(each, Produced)]
        for write in effects.writes:
            store.put(write.partition, write.key, write.value)
    return _by_topic(outs)


def _by_topic(outs: Iterable[Out]) -> Outs:
    found: dict[str, list[Out]] = {}
    for out in outs:
        found.setdefault(out.topic, []).append(out)
    return found
