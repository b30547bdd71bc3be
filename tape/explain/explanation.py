"""The result of ``explain``: the trees, the checks, and how they are displayed."""

import html
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tapedeck.schemas.readable import iso_time, readable
from tapedeck.streams.again import Held
from tapedeck.streams.blocks import Source
from tapedeck.streams.config.document import Config
from tapedeck.streams.sessions import Calendar, xnys
from tapedeck.streams.telling import new_york, utc
from tapedeck.streams.topology import Topology
from tapedeck.tape.explain.describe import details, headline
from tapedeck.tape.explain.lookup import Found, Lookup
from tapedeck.tape.explain.reevaluate import Check, Reevaluator, Verdict
from tapedeck.tape.explain.roots import find_roots
from tapedeck.tape.explain.tree import Node, Walker
from tapedeck.topics.catalogue import topic


@dataclass(frozen=True, repr=False)
class Explanation:
    """Why a record exists. ``kind`` and ``name``: what was asked for; ``checks``: by event_id."""

    kind: str
    name: str
    roots: tuple[Node, ...]
    checks: Mapping[str, Check]
    windows: Mapping[str, Held]
    config_digest: str
    topology: Topology

    @property
    def verdict(self) -> Verdict:
        """DIFFERENT if any record is; SAME if at least the requested record could be recomputed."""
        if any(check.verdict is Verdict.DIFFERENT for check in self.checks.values()):
            return Verdict.DIFFERENT
        asked = [self.checks[root.event_id] for root in self.roots if root.event_id in self.checks]
        same = bool(asked) and all(check.verdict is Verdict.SAME for check in asked)
        return Verdict.SAME if same else Verdict.NOT_EVALUATED

    @property
    def summary(self) -> str:
        """The verdict in a sentence."""
        counts = Counter(check.verdict for check in self.checks.values())
        told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
        return (
            f"{self.verdict}: {self.kind} {self.name}; computed again: {told or 'nothing, these are facts'}"
        )

    def __iter__(self) -> Iterator[Node]:
        """Every record of the trees, each once."""
        seen: set[str] = set()
        for root in self.roots:
            for node in root:
                if node.event_id not in seen:
                    seen.add(node.event_id)
                    yield node

    def __repr__(self) -> str:
        return self.text()

    def text(self) -> str:
        """The trees as text, the verdict last."""
        lines: list[str] = []
        for root in self.roots:
            lines += self._lines(root, "", "")
        lines.append("")
        for check in self.checks.values():
            if check.verdict is Verdict.DIFFERENT:
                lines += [f"DIFFERENT {check.topic} {check.event_id}: {check.why}", *_changes(check)]
        for why in dict.fromkeys(c.why for c in self.checks.values() if c.verdict is Verdict.NOT_EVALUATED):
            lines.append(f"NOT EVALUATED: {why}")
        return "\n".join([*lines, self.summary])

    def _lines(self, node: Node, first: str, rest: str) -> Iterator[str]:
        if node.found is None:
            yield f"{first}{node.event_id} is not on the log: older than its topic keeps, or never written"
            return
        yield f"{first}{node.found.topic:<12} {self._headline(node.found)}{self._mark(node)}"
        bar = "│   " if node.inputs or node.folds else "    "
        if not node.repeated:
            yield f"{rest}{bar}{_where(node.found)}"
            for line in self._details(node.found):
                yield f"{rest}{bar}{line}"
        last = len(node.inputs) + len(node.folds) - 1
        for place, each in enumerate(node.inputs):
            branch, under = ("└── ", "    ") if place == last else ("├── ", "│   ")
            yield from self._lines(each, f"{rest}{branch}", f"{rest}{under}")
        for place, fold in enumerate(node.folds, start=len(node.inputs)):
            branch = "└── " if place == last else "├── "
            yield f"{rest}{branch}{len(fold.event_ids)} more of {fold.topic or 'what is not on the log'}"

    def _headline(self, found: Found) -> str:
        return headline(self.topology, found.topic, found.body)

    def _details(self, found: Found) -> list[str]:
        return details(self.topology, found, self.windows.get(found.event_id))

    def _mark(self, node: Node) -> str:
        if node.repeated:
            return "  (above)"
        check = self.checks.get(node.event_id)
        return f"  [{check.verdict}]" if check else ""

    def as_dict(self) -> dict[str, Any]:
        """The explanation as JSON."""
        return {
            "kind": self.kind,
            "name": self.name,
            "verdict": self.verdict.value,
            "config_digest": self.config_digest,
            "records": [self._node(root) for root in self.roots],
        }

    def _node(self, node: Node) -> dict[str, Any]:
        shown: dict[str, Any] = {"event_id": node.event_id}
        if node.found is None or node.repeated:
            return shown | {"on_log": node.found is not None, "repeated": node.repeated}
        found = node.found
        schema = topic(found.topic).schema
        assert schema is not None
        check, window = self.checks.get(node.event_id), self.windows.get(node.event_id)
        return shown | {
            "topic": found.topic,
            "partition": found.message.partition,
            "offset": found.message.offset,
            "time": iso_time(found.time_us),
            "time_new_york": new_york(found.time_us),
            "code_version": found.header("tape-code-version"),
            "cause": found.header("tape-cause"),
            "body": readable(schema, found.body),
            "check": None if check is None else _check(check),
            "window": None if window is None else window.as_dict(),
            "beside": node.beside,
            "inputs": [self._node(each) for each in node.inputs],
            "folded": [{"topic": fold.topic, "event_ids": fold.event_ids} for fold in node.folds],
        }

    def _repr_html_(self) -> str:
        """For notebooks: the same trees, collapsible."""
        shown = "".join(self._html(root, opened=place == 0) for place, root in enumerate(self.roots))
        summary = html.escape(self.summary)
        return f"<div><b>{summary}</b>{shown}</div>"

    def _html(self, node: Node, *, opened: bool) -> str:
        if node.found is None:
            return f"<div>{node.event_id} is not on the log</div>"
        words = html.escape(f"{self._headline(node.found)}{self._mark(node)}")
        title = f"<code>{node.found.topic}</code> {words}"
        if node.repeated:
            return f"<div>{title}</div>"
        lines = [_where(node.found), *self._details(node.found)]
        lines += [f"{len(fold.event_ids)} more of {fold.topic}" for fold in node.folds]
        body = "".join(f"<div><small>{html.escape(line)}</small></div>" for line in lines)
        below = "".join(self._html(each, opened=opened) for each in node.inputs)
        mark = " open" if opened else ""
        return f'<details{mark} style="margin-left:1em"><summary>{title}</summary>{body}{below}</details>'


def explain_from(
    topology: Topology,
    source: Source,
    config: Config,
    asked: str,
    *,
    depth: int | None = None,
    everything: bool = False,
    calendar: Calendar | None = None,
) -> Explanation:
    """Explain the records in ``source`` that ``asked`` names, under ``config``.

    Raises NoSuchRecord for an unknown id and for an ambiguous prefix of an id.
    """
    lookup = Lookup(source)
    roots = find_roots(topology, lookup, asked)
    walker = Walker(topology, lookup, depth=depth, everything=everything)
    nodes = tuple(walker.walk(found) for found in roots.records)
    evaluator = Reevaluator(topology, lookup, config, calendar or xnys())
    shown = {node.event_id: node.found for root in nodes for node in root if node.found and not node.repeated}
    # fold an account up to its last record first: this also gives the earlier ones
    newest_first = sorted(shown.values(), key=lambda each: -each.time_us)
    found = {each.event_id: evaluator.check(each) for each in newest_first}
    checks = {event_id: check for event_id in shown if (check := found[event_id]) is not None}
    return Explanation(roots.kind, roots.name, nodes, checks, evaluator.windows, config.digest, topology)


def _where(found: Found) -> str:
    """Place and time of a record, and what produced it."""
    made = [f"event {found.event_id[:12]}"]
    digest = found.body.get("config_digest")
    made += [f"config {digest}"] if digest else []
    code, cause = found.header("tape-code-version"), found.header("tape-cause")
    made += [f"code {code}"] if code else []
    made += [f"cause {cause}"] if cause else []
    times = f"{new_york(found.time_us)} New York ({utc(found.time_us)})"
    return f"{found.place}  {times}  {', '.join(made)}"


def _check(check: Check) -> dict[str, Any]:
    differences = [
        {"field": each.field, "recorded": str(each.recorded), "again": str(each.again)}
        for each in check.differences
    ]
    return {"verdict": check.verdict.value, "why": check.why, "differences": differences}


def _changes(check: Check) -> list[str]:
    return [
        f"    {each.field}: recorded {each.recorded!r}, again {each.again!r}" for each in check.differences
    ]
