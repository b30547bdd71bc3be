"""The parts of the documentation made from the code: ``python -m tapedeck.tape.docs`` writes them again.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``; what is around it is
written by hand.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path

from tapedeck.streams.stages.account.decide import Verdict
from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.gate_types import GateReason
from tapedeck.streams.stages.account.rules.gates import GATES
from tapedeck.streams.stages.account.rules.orders import OrderReason, OrderState
from tapedeck.streams.stages.account.rules.sizing import SizeReason
from tapedeck.streams.stages.account.state import AccountDrop
from tapedeck.streams.stages.features.reasons import FeatureReason
from tapedeck.streams.stages.scores.reasons import ScoreReason
from tapedeck.streams.stages.signals.reasons import SignalDrop, SignalReason
from tapedeck.streams.stages.watchlist.reasons import WatchlistDrop, WatchlistReason
from tapedeck.streams.topology import as_mermaid
from tapedeck.tape.demo.line import FunnelReason
from tapedeck.tape.why.words import Missing, words
from tapedeck.topics.catalogue import CATALOGUE, Cleanup, Spread, Topic

DOCUMENTS = ("README.md", "docs/records.md", "docs/explain.md")
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

REASONS: tuple[tuple[str, type[StrEnum], str], ...] = (
    ("any, on the way in", FunnelReason, "the funnel"),
    ("features", FeatureReason, "heartbeats; BAD_BAR in dead_letters"),
    ("scores", ScoreReason, "heartbeats"),
    ("watchlist", WatchlistReason, "`watchlist.events`, `memberships.reason`"),
    ("watchlist", WatchlistDrop, "heartbeats"),
    ("signals", SignalReason, "`decisions.reason`"),
    ("signals", SignalDrop, "heartbeats"),
    ("account: verdict", Verdict, "`proposals.verdict`"),
    ("account: gates", GateReason, "`proposals.gates`, `proposals.primary_reason`"),
    ("account: contract", ContractReason, "the contract_quality gate"),
    ("account: size", SizeReason, "`proposals.sizing_reason`"),
    ("account: orders", OrderReason, "`orders.reason`"),
    ("account: orders", OrderState, "`orders.state`"),
    ("account: inbox", AccountDrop, "heartbeats"),
)
"""(stage, its enum, where the reason is stored), in the order of the pipeline."""
_SPREADS = {Spread.SYMBOL: "symbol", Spread.ACCOUNT: "account", Spread.ONE: "one partition"}


def render(text: str) -> str:
    """``text`` with every generated part made anew. Raises KeyError for a part that nobody makes."""
    return _PART.sub(lambda found: f"{found[1]}{_PARTS[found[2]]()}\n{found[3]}", text)


def _mermaid() -> str:
    return f"```mermaid\n{as_mermaid()}\n```"


def _topics() -> str:
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


def _reasons() -> str:
    rows = (
        (stage, (enum.__doc__ or "").strip().splitlines()[0], ", ".join(f"`{each}`" for each in enum), where)
        for stage, enum, where in REASONS
    )
    return _table(("stage", "what it says", "reasons", "stored in"), rows)


def _words() -> str:
    by_stage: list[tuple[str, type[StrEnum]]] = [(stage, enum) for stage, enum, _ in REASONS]
    by_stage.append(("nothing is there", Missing))
    rows = ((stage, f"`{reason}`", words(reason)) for stage, enum in by_stage for reason in enum)
    return _table(("stage", "reason", "in words"), rows)


def _gates() -> str:
    rows = (
        (str(number), f"`{gate.name}`", "yes" if gate.on_close else "")
        for number, gate in enumerate(GATES, start=1)
    )
    return _table(("#", "gate", "asked for a close too"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_PARTS: dict[str, Callable[[], str]] = {
    "topology": _mermaid,
    "topics": _topics,
    "reasons": _reasons,
    "gates": _gates,
    "words": _words,
}


def main() -> None:
    """Write the generated parts of every document, below the current folder."""
    for name in DOCUMENTS:
        path = Path(name)
        path.write_text(render(path.read_text()))


if __name__ == "__main__":
    main()
