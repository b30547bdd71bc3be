"""The check: every displayed record is recomputed from the log before it.

Its stage says which inputs that needs, and runs on them again. The result is compared with the topic, field
by field.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.again import Again, Case, Given, Held, run
from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import RULES_VERSION
from tapedeck.streams.protocol import Out, Stage, StageSpec
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.topology import Topology, definition_of, make
from tapedeck.tape.explain.describe import told
from tapedeck.tape.explain.lookup import Found, Lookup
from tapedeck.tape.explain.recorded import Recorded, Rows
from tapedeck.topics.catalogue import topic

Body = dict[str, Any]


class Verdict(StrEnum):
    """The result of recomputing a record."""

    SAME = "SAME"
    DIFFERENT = "DIFFERENT"
    NOT_EVALUATED = "NOT_EVALUATED"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field that differs: as recorded, and as recomputed."""

    field: str
    recorded: Any
    again: Any


@dataclass(frozen=True, kw_only=True)
class Check:
    """The check of one record. ``why``: the reason if it is not SAME."""

    topic: str
    event_id: str
    verdict: Verdict
    differences: tuple[Difference, ...] = ()
    why: str = ""


class Reevaluator:
    """Recomputes records under ``config``, reading through ``lookup``."""

    def __init__(self, topology: Topology, lookup: Lookup, config: Config, calendar: Calendar) -> None:
        self._topology = topology
        self._lookup, self._config, self._calendar = lookup, config, calendar
        self._stages: dict[tuple[str, str | None], Stage] = {}
        self._rows: Rows = {}
        self._made: dict[tuple[str, bytes], tuple[Case, Given]] = {}
        self.windows: dict[str, Held] = {}
        """What the state held for a record, by event_id, such as the bars of a feature's window."""

    def check(self, found: Found) -> Check | None:
        """The check of one record; None for a fact, which no stage computed.

        What a source's writer made of other records is a fact too: a score is stored, not computed again.
        """
        spec = self._topology.writer(found.topic)
        if "config_digest" not in found.body or (spec is None and self._is_fact(found.topic)):
            return None
        why = self._refusal(found) if spec else f"no stage of this topology writes {found.topic}"
        again = definition_of(spec).again if spec and not why else None
        if spec and not why and again is None:
            why = (
                f"the stage {spec.name} does not say how to recompute one record: `tape rebuild "
                f"{spec.name} --verify` recomputes all"
            )
        if spec is None or again is None:
            return self._check(found, Verdict.NOT_EVALUATED, why=why)
        outs = self._again(found, spec, again)
        if outs is None:
            return self._check(
                found, Verdict.NOT_EVALUATED, why=f"inputs of a {found.topic} record are not kept"
            )
        return self._compare(found, outs)

    def _is_fact(self, name: str) -> bool:
        words = told(self._topology, name)
        return words is not None and bool(words.made_of)

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

    def _again(self, found: Found, spec: StageSpec, again: Again) -> list[Out] | None:
        """The record's stage run again; None if its inputs are no longer kept."""
        stage = self._stage(spec, found.body)
        recorded = Recorded(self._lookup, spec, found, self._rows)
        case = again.case(stage, self._config, self._calendar, found.body, recorded)
        if case is None:
            return None
        made = self._made.get((spec.name, case.key))
        if made is None or not (made[0] == case or (again.held is None and _goes_beyond(made[0], case))):
            made = self._made[spec.name, case.key] = (case, run(stage, case))
        if again.held is not None:
            held = again.held(made[1].state, found.body, self._config)
            if held is not None:
                self.windows[found.event_id] = held
        return [out for out in made[1].outs if out.topic == found.topic]

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
            return self._check(found, Verdict.DIFFERENT, why="recomputing gives no such record")
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

    def _stage(self, spec: StageSpec, body: Body) -> Stage:
        account = str(body["account_id"]) if spec.per_account else None
        if (spec.name, account) not in self._stages:
            self._stages[spec.name, account] = make(spec, self._config, self._calendar, account)
        return self._stages[spec.name, account]


def _goes_beyond(made: Case, case: Case) -> bool:
    """Whether ``made`` is ``case`` with more rows appended: its results include those of ``case``."""
    rows = list(made.rows[: len(case.rows)])
    return bool(case.rows) and made._replace(rows=rows) == case._replace(rows=list(case.rows))
