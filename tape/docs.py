"""The generated parts of the documentation: ``python -m tapedeck.tape.docs`` writes them again.

A generated part is between ``<!-- generated: NAME -->`` and ``<!-- end -->``; the rest is
written by hand.
"""

import ast
import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from tapedeck.connectors.paper.data.scenarios import PLANS
from tapedeck.streams.config.accounts import TIERS, Account, tier_defaults
from tapedeck.streams.config.deployment import Deployment
from tapedeck.streams.config.described import TABLES, group_of, parameters
from tapedeck.streams.config.groups import Group
from tapedeck.streams.config.news import Feed, News
from tapedeck.streams.metrics import CATALOGUE as METRICS
from tapedeck.streams.metrics import EVERY
from tapedeck.streams.stages.account.rules.gates import GATES
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import Topology
from tapedeck.tape.doctor.checks.all import CHECKS
from tapedeck.tape.why.words import reasons_of
from tapedeck.topics.catalogue import CATALOGUE, Cleanup, Spread, Topic

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/records.md",
    "docs/explain.md",
    "docs/configuration.md",
    "docs/exchange.md",
    "docs/metrics.md",
    "docs/runbook.md",
)
REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("schemas", "topics", "streams", "agents", "connectors", "tape")
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

_SPREADS = {Spread.SYMBOL: "symbol", Spread.ACCOUNT: "account", Spread.ONE: "one partition"}


def render(text: str, topology: Topology) -> str:
    """``text`` with every generated part renewed. Raises KeyError for an unknown part."""
    return _PART.sub(lambda found: f"{found[1]}{_PARTS[found[2]](topology)}\n{found[3]}", text)


def _mermaid(topology: Topology) -> str:
    return f"```mermaid\n{topology.as_mermaid()}\n```"


def _rooms(topology: Topology) -> str:
    return _table(("folder", "what is in it"), ((f"`{name}/`", about) for name, about in rooms()))


def rooms(below: Path = REPOSITORY) -> Iterator[tuple[str, str]]:
    """(folder, first line of its docstring) of every package; the docstring is empty where there is none."""
    for room in ROOMS:
        for path in sorted((below / room).rglob("__init__.py")):
            told = ast.get_docstring(ast.parse(path.read_text())) or ""
            yield path.parent.relative_to(below).as_posix(), told.partition("\n")[0].replace("``", "`")


def _topics(topology: Topology) -> str:
    rows = (
        (
            f"`{each.name}`",
            _SPREADS[each.spread],
            " ".join(f"`{name}`" for name in each.key) or _fixed_key(each),
            _kept(each),
            "yes" if each.watermarked else "",
            each.owner,
            each.doc,
        )
        for each in CATALOGUE
    )
    return _table(
        ("topic", "partitioned by", "record key", "kept", "watermarks", "written by", "content"), rows
    )


def _fixed_key(each: Topic) -> str:
    if each.schema is None:
        return "source topic" if each.owner == "every stage" else "state key"
    return "the topic's name"


def _kept(each: Topic) -> str:
    days = "for ever" if each.keep_days < 0 else f"{each.keep_days} d"
    if each.cleanup is Cleanup.DELETE:
        return days
    return f"newest per key; all for {days}" if each.keep_days > 0 else "newest per key"


def _reasons(topology: Topology) -> str:
    rows = (
        (stage, (each.enum.__doc__ or "").strip().splitlines()[0], _codes(each.enum), each.stored)
        for stage, each in reasons_of(topology)
        if each.stored
    )
    return _table(("stage", "what it says", "reasons", "stored in"), rows)


def _codes(enum: type[StrEnum]) -> str:
    return ", ".join(f"`{each}`" for each in enum)


def _words(topology: Topology) -> str:
    rows = (
        (stage, f"`{reason}`", each.words[reason])
        for stage, each in reasons_of(topology)
        for reason in each.enum
    )
    return _table(("stage", "reason", "in words"), rows)


def _gates(topology: Topology) -> str:
    rows = (
        (str(number), f"`{gate.name}`", "yes" if gate.on_close else "")
        for number, gate in enumerate(GATES, start=1)
    )
    return _table(("#", "gate", "asked for a close too"), rows)


def _parameters(topology: Topology) -> str:
    tables = (name for name in TABLES if name != "accounts")
    return "\n\n".join(f"### `[{name}]`\n\n{_fields(group_of(name))}" for name in tables)


def _account(topology: Topology) -> str:
    return _fields(Account, of_tier=tier_defaults("tiny"))


def _deployment(topology: Topology) -> str:
    return _fields(Deployment)


def _scenarios(topology: Topology) -> str:
    rows = (
        (
            f"`{scenario}`",
            plan.case,
            plan.line,
            str(plan.times) if plan.times else "until disarmed",
            str(plan.seconds or ""),
        )
        for scenario, plan in PLANS.items()
    )
    return _table(("scenario", "case", "what happens", "times", "seconds"), rows)


def _news(topology: Topology) -> str:
    return _fields(News, without=("feeds",))


def _feed(topology: Topology) -> str:
    return _fields(Feed)


def _metrics(topology: Topology) -> str:
    rows = (
        (
            f"`{each.name}`",
            str(each.kind),
            " ".join(f"`{label}`" for label in each.labels),
            "every process" if each.by == EVERY else ", ".join(each.by),
            each.help,
        )
        for each in METRICS
    )
    return _table(("metric", "kind", "labels", "given by", "what it says"), rows)


def _runbook(topology: Topology) -> str:
    parts = []
    for each in CHECKS:
        steps = "\n".join(f"{n}. {_sentence(step)}" for n, step in enumerate(each.steps, start=1))
        parts.append(f"## {each.name}\n\n{_sentence(each.rule)}\n\n{steps}")
    return "\n\n".join(parts)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _fields(group: type[Group], of_tier: Container[str] = (), without: Container[str] = ()) -> str:
    rows = (
        (
            f"`{each.name}`",
            each.meaning.replace("|", "\\|"),
            each.kind,
            each.limits,
            "of the tier"
            if each.name in of_tier
            else f"`{each.default}`"
            if each.default
            else "must be given",
        )
        for each in parameters(group)
        if each.name not in without
    )
    return _table(("key", "meaning", "type", "range", "default"), rows)


def _tiers(topology: Topology) -> str:
    columns = {tier: tier_defaults(tier) for tier in TIERS}
    rows = ((f"`{key}`", *(str(columns[tier][key]) for tier in TIERS)) for key in columns[TIERS[0]])
    return _table(("key", *TIERS), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_PARTS: dict[str, Callable[[Topology], str]] = {
    "rooms": _rooms,
    "topology": _mermaid,
    "topics": _topics,
    "reasons": _reasons,
    "gates": _gates,
    "words": _words,
    "parameters": _parameters,
    "account": _account,
    "tiers": _tiers,
    "news": _news,
    "feed": _feed,
    "deployment": _deployment,
    "scenarios": _scenarios,
    "metrics": _metrics,
    "runbook": _runbook,
}


def main() -> None:
    """Write the generated parts of every document, below the current folder."""
    for name in DOCUMENTS:
        path = Path(name)
        path.write_text(render(path.read_text(), TOPOLOGY))


if __name__ == "__main__":
    main()
