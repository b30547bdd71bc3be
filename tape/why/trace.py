"""One minute of one symbol through every stage: where it ended, why, and by how much it missed."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import FunnelReason, refused_by
from tapedeck.streams.misses import Judged
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.telling import clock, new_york
from tapedeck.streams.topology import definition_of
from tapedeck.streams.trail import Blames, Ended
from tapedeck.tape.explain.describe import headline
from tapedeck.tape.why.beside import Beside
from tapedeck.tape.why.outcome import Outcome, outcome_of
from tapedeck.tape.why.symbol_tape import SymbolTape
from tapedeck.tape.why.words import Missing, Words

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Passed:
    """One stage that a minute passed, and the record that it wrote."""

    stage: str
    text: str


class Tracer:
    """Follows minutes of ``tape`` under ``config``."""

    def __init__(self, tape: SymbolTape, config: Config, calendar: Calendar) -> None:
        self._tape, self._config, self._way = tape, config, tape.way
        self._topology = topology = tape.way.topology
        self._words = Words(topology)
        self._found = {name: self._by_time(name) for name in self._way.spine}
        writers = {name: topology.writer(name) for name in self._way.spine}
        self._dropped = {name: self._dropped_by(spec, calendar) for name, spec in writers.items() if spec}
        self._beside = Beside(self._way, tape)
        self._accounts = [
            (account.account_id, of(tape.recording, config, account.account_id))
            for account in config.accounts
            for spec in topology.accounts
            if (of := self._way.trail(spec).of_account) is not None
        ]

    def _dropped_by(self, spec: StageSpec, calendar: Calendar) -> dict[str, str]:
        """Why a record of the trigger gave no output, from the stage or its dead letters."""
        counts = definition_of(spec).funnel
        if counts is None or counts.dropped is None:
            return refused_by(spec.name, spec.trigger, self._tape.recording)
        return counts.dropped(self._tape.recording, self._config, calendar)

    def _by_time(self, name: str) -> dict[int, Body]:
        """The first record of each minute, that of the configured feed if there is one."""
        found: dict[int, Body] = {}
        field, feed = self._way.time_of(name), self._config.bars.feed
        for body in self._tape.recording.bodies(name):
            known = found.get(body[field])
            if known is None or known.get("feed") != feed == body.get("feed"):
                found[body[field]] = body
        return found

    def outcome(self, t: int) -> Outcome | None:
        """Where the market stages dropped the minute; None if they made a signal."""
        ended = self._ended(t)
        return None if ended is None else outcome_of(t, ended, self._words)

    def _ended(self, t: int) -> Ended | None:
        before: Body | None = None
        for name in self._way.spine:
            body = self._found[name].get(t)
            if body is None:
                return self._missing(t, name, before)
            before = body
        return None if before is None else self._judged(before)

    def _missing(self, t: int, name: str, before: Body | None) -> Ended:
        """Why a record is missing: it was dropped, a stage that it needs is behind, or there is none."""
        spec = self._topology.writer(name)
        if spec is not None and before is not None and before["event_id"] in self._dropped[name]:
            return Ended(self._way.place(name), self._known(spec, self._dropped[name][before["event_id"]]))
        behind = self._tape.behind(t, name)
        if behind is None:
            nothing = Missing.NO_BAR if spec is None else self._way.trail(spec).nothing
            return Ended(self._way.place(name), nothing)
        label = self._tape.labels[behind]
        last = "none at all" if label is None else f"{new_york(label)} New York"
        detail = f"last watermark of {behind}: {last}"
        return Ended(self._way.place(behind), Missing.STAGE_BEHIND, None, detail)

    def _known(self, spec: StageSpec, reason: str) -> StrEnum | str:
        """A dead letter's reason as a member of the stage's enums, if one has it."""
        if isinstance(reason, StrEnum):
            return reason
        enums: list[type[StrEnum]] = [each.enum for each in definition_of(spec).reasons]
        enums.append(FunnelReason)
        return next((each[reason] for each in enums if reason in each.__members__), reason)

    def _judged(self, decision: Body) -> Ended | None:
        """Why a decision ends its minute: from its stage, or from the stages that it blames."""
        at = Judged(decision, self._beside.of(decision))
        spec: StageSpec | None = self._way.decider
        otherwise: Ended | None = None
        for _ in self._topology:  # each stage is blamed once at most
            says = None if spec is None else self._way.trail(spec).ended
            said = None if says is None else says(at, self._config)
            if not isinstance(said, Blames):
                return said or otherwise
            otherwise, spec = said.otherwise, self._topology.writer(said.topic)
        return otherwise

    def outcomes(self, t: int, account: str) -> list[Outcome]:
        """Where each signal of the minute ended for ``account``."""
        return [
            outcome_of(t, ended, self._words, account)
            for name, of_minute in self._accounts
            if name == account
            for ended in of_minute(t)
        ]

    def passed(self, t: int) -> Iterator[Passed]:
        """The minute's record at each market stage that it reached; for a decision, also its inputs and
        its outputs."""
        spine = self._way.spine
        decision = self._found[spine[-1]].get(t) if all(t in self._found[name] for name in spine) else None
        beside = {} if decision is None else self._beside.of(decision)
        shown: set[str] = set()
        for name in self._way.told():
            if name in spine and t not in self._found[name]:
                return
            body = self._found[name][t] if name in spine else beside.get(name)
            if decision is not None and name not in beside and name not in spine:
                body = self._beside.made_of(shown, name)
            if body is not None:
                shown.add(body["event_id"])
                text = headline(self._topology, name, body)
                when = "" if name in spine else f" at {clock(body[self._way.time_of(name)])}"
                yield Passed(stage=self._way.place(name), text=f"{text}{when}")
