"""One minute of one symbol through every stage: where it ended, why, and by how much it missed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import FunnelReason
from tapedeck.streams.misses import Judged, Miss
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.account.funnel import AccountBook
from tapedeck.streams.stages.features.reasons import FeatureReason
from tapedeck.streams.stages.signals.reasons import SignalDrop, SignalReason
from tapedeck.streams.stages.signals.rule import Action
from tapedeck.streams.stages.watchlist.reasons import WatchlistDrop, WatchlistReason
from tapedeck.streams.telling import clock, new_york
from tapedeck.streams.topology import Topology, definition_of
from tapedeck.tape.explain.describe import headline
from tapedeck.tape.why.accounts import of_signal
from tapedeck.tape.why.outcome import STAGES, Ending, Outcome, named
from tapedeck.tape.why.reading import SymbolTape
from tapedeck.tape.why.words import Missing, Words

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Passed:
    """One stage that a minute came through, and the record that it left."""

    stage: str
    text: str


class Tracer:
    """Follows minutes of ``tape`` under ``config``."""

    def __init__(self, topology: Topology, tape: SymbolTape, config: Config, calendar: Calendar) -> None:
        self._topology, self._ended = topology, Ending(Words(topology))
        self._tape, self._config = tape, config
        recording = tape.recording
        self._bar_reasons = self._dropped(topology, "features", calendar)
        self._feature_reasons = self._dropped(topology, "decisions", calendar)
        self._bars = self._by_time("bars", "t")
        self._features = self._by_time("features", "t")
        self._decisions = self._by_time("decisions", "bar_t")
        self._signals = sorted(recording.bodies("signals"), key=lambda body: body["bar_t"])
        self._memberships = sorted(recording.bodies("memberships"), key=lambda body: body["evaluation"])
        self._scores = sorted(recording.bodies("scores"), key=lambda body: body["evaluation"])
        self._books = {each.account_id: AccountBook(recording, each.account_id) for each in config.accounts}

    def _dropped(self, topology: Topology, name: str, calendar: Calendar) -> dict[str, str]:
        """Why a record gave none of topic ``name``, as the stage that writes it tells."""
        spec = topology.writer(name)
        counts = None if spec is None else definition_of(spec).funnel
        told = None if counts is None else counts.dropped
        return told(self._tape.recording, self._config, calendar) if told else {}

    def _by_time(self, name: str, field: str) -> dict[int, Body]:
        """The first record of each minute, the configured feed's where there is one."""
        found: dict[int, Body] = {}
        for body in self._tape.recording.bodies(name):
            known = found.get(body[field])
            if known is None or known["feed"] != self._config.bars.feed == body["feed"]:
                found[body[field]] = body
        return found

    def outcome(self, t: int) -> Outcome | None:
        """Where the market stages dropped the minute; None where they made a signal."""
        bar, feature, decision = self._bars.get(t), self._features.get(t), self._decisions.get(t)
        if bar is None:
            return self._missing(t, "bars", Missing.NO_BAR)
        if feature is None:
            reason = self._bar_reasons.get(bar["event_id"])
            if reason is not None:
                return self._ended(t, "features", named(reason, FeatureReason, FunnelReason))
            return self._missing(t, "features", Missing.NO_FEATURE)
        if decision is None:
            reason = self._feature_reasons.get(feature["event_id"])
            if reason is not None:
                return self._ended(t, "decisions", named(reason, SignalDrop, FunnelReason))
            return self._missing(t, "decisions", Missing.NO_DECISION)
        if decision["action"] != Action.HOLD:
            return None
        at = self._judged(decision)
        held = SignalReason(decision["reason"])
        if held is SignalReason.NOT_ON_WATCHLIST:
            return self._unlisted(t, at)
        miss, detail = self._misses("decisions", held, at)
        return self._ended(t, "decisions", held, miss=miss, detail=detail)

    def _misses(self, name: str, reason: str, at: Judged) -> tuple[Miss | None, str]:
        """How far it was from passing, and what else the stage that writes topic ``name`` tells."""
        spec = self._topology.writer(name)
        tells = None if spec is None else definition_of(spec).misses
        if tells is None:
            return None, ""
        detail = "" if tells.detail is None else tells.detail(reason, at, self._config)
        return tells.miss(reason, at, self._config), detail

    def _missing(self, t: int, stage: str, reason: Missing) -> Outcome:
        """Something is not there: its stage, or one before it, is behind; or it is not, and gave nothing."""
        behind = self._tape.behind(t)
        if behind is None or STAGES.index(_stage_of(behind)) > STAGES.index(stage):
            return self._ended(t, stage, reason)
        label = self._tape.labels[behind]
        last = "none at all" if label is None else f"{new_york(label)} New York"
        detail = f"last watermark of {behind}: {last}"
        return self._ended(t, _stage_of(behind), Missing.STAGE_BEHIND, detail=detail)

    def _judged(self, decision: Body) -> Judged:
        feature = self._tape.recording["features"].bodies.get(decision["inputs"][0])
        known = self._tape.recording["memberships"].bodies
        membership = next((known[each] for each in decision["inputs"][1:] if each in known), None)
        lists = self._tape.recording["watchlist"].bodies
        listed = lists.get(membership["inputs"][0]) if membership else None
        evaluation = membership["evaluation"] if membership else decision["bar_t"]
        beside = {
            "features": feature,
            "memberships": membership,
            "watchlist": listed,
            "scores": _last(self._scores, "evaluation", evaluation + 1),
            "signals": _last(self._signals, "bar_t", decision["bar_t"]),
        }
        return Judged(decision, beside)

    def _unlisted(self, t: int, at: Judged) -> Outcome:
        """The watchlist, or what it needs, dropped the symbol."""
        membership = at.beside["memberships"]
        if membership is None:
            if self._tape.universe is None:
                return self._ended(t, "watchlist", WatchlistDrop.NO_UNIVERSE)
            if at.beside["scores"] is None:
                return self._ended(t, "scores", Missing.NO_SCORE)
            return self._ended(t, "watchlist", Missing.NO_LIST)
        reason = WatchlistReason(membership["reason"])
        miss, _ = self._misses("memberships", reason, at._replace(record=membership))
        if reason is WatchlistReason.NOT_SCORED:
            return self._ended(t, "scores", reason)
        listed = f"list of {clock(membership['evaluation'])}"
        return self._ended(t, "watchlist", reason, miss=miss, detail=listed)

    def _of_gate(self, gate: Body) -> Miss | None:
        return self._misses("proposals", gate["reason"], Judged(gate, {}))[0]

    def outcomes(self, t: int, account: str) -> list[Outcome]:
        """Where each signal of the minute ended for ``account``."""
        book = self._books[account]
        return [
            of_signal(signal, book, self._of_gate, self._ended)
            for signal in self._signals
            if signal["bar_t"] == t
        ]

    def passed(self, t: int) -> Iterator[Passed]:
        """What the minute left at each market stage, as far as it came."""
        for stage, held in (("bars", self._bars), ("features", self._features)):
            if t not in held:
                return
            yield Passed(stage=stage, text=headline(self._topology, stage, held[t]))
        decision = self._decisions.get(t)
        if decision is None:
            return
        at = self._judged(decision)
        score, membership = at.beside["scores"], at.beside["memberships"]
        if score is not None:
            when = clock(score["evaluation"])
            yield Passed(stage="scores", text=f"{headline(self._topology, 'scores', score)} at {when}")
        if membership is not None:
            when = clock(membership["evaluation"])
            yield Passed(
                stage="watchlist", text=f"{headline(self._topology, 'memberships', membership)} at {when}"
            )
        yield Passed(stage="decisions", text=headline(self._topology, "decisions", decision))


def _stage_of(name: str) -> str:
    """The stage in ``STAGES`` that writes topic ``name``."""
    return "watchlist" if name == "memberships" else name


def _last(bodies: list[Body], field: str, before: int) -> Body | None:
    """The newest of ``bodies``, which rise by ``field``, before a time."""
    return next((body for body in reversed(bodies) if body[field] < before), None)
