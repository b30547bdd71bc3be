"""The topology: which stage reads, joins, writes and owns what. Drivers, topics and docs read it."""

from collections.abc import Callable
from functools import partial

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.contract import Join, Stage, StageSpec
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.account.stage import AccountStage
from tapedeck.streams.stages.features.stage import FeaturesStage
from tapedeck.streams.stages.scores.stage import ScoresStage
from tapedeck.streams.stages.signals.stage import SignalsStage
from tapedeck.streams.stages.watchlist.stage import WatchlistStage
from tapedeck.topics.catalogue import topic

TOPOLOGY: tuple[StageSpec, ...] = (
    StageSpec(
        name="features",
        trigger="bars",
        outputs=("features", "bars.late"),
        doc="feature vector per bar over a revision-aware window",
    ),
    StageSpec(
        name="scores",
        trigger="features",
        outputs=("scores",),
        scale="single",
        period=300,
        doc="watch score per symbol at every five-minute boundary",
    ),
    StageSpec(
        name="watchlist",
        trigger="scores",
        joins=(Join("universe"),),
        outputs=("watchlist", "memberships"),
        scale="single",
        period=60,
        doc="ranked watchlist with hysteresis, and each symbol's place in it",
    ),
    StageSpec(
        name="signals",
        trigger="features",
        joins=(Join("memberships"),),
        outputs=("decisions", "signals", "revision_audit"),
        doc="one decision per bar, HOLD included; a signal where the rules act",
    ),
    StageSpec(
        name="account",
        trigger="account_inbox",
        outputs=("proposals", "orders", "executions", "positions", "accounts"),
        scale="single",
        doc="gates, sizing, orders and positions: a fold of the account's inbox",
    ),
)

MARKET_STAGES = tuple(spec.name for spec in TOPOLOGY if spec.name != "account")

_MAKERS: dict[str, Callable[[Config, Calendar], Stage]] = {
    "features": FeaturesStage,
    "scores": ScoresStage,
    "watchlist": WatchlistStage,
    "signals": SignalsStage,
}


def spec_of(name: str) -> StageSpec:
    """The stage called ``name``. Raises Fatal for a name the topology does not have."""
    for spec in TOPOLOGY:
        if spec.name == name:
            return spec
    raise Fatal("no such stage", value=name, remedy=f"stages: {', '.join(s.name for s in TOPOLOGY)}")


def make_stage(name: str, config: Config, calendar: Calendar) -> Stage:
    """A market stage under ``config``. Accounts are made by ``make_account``."""
    return _MAKERS[spec_of(name).name](config, calendar)


def make_account(account_id: str, config: Config, calendar: Calendar) -> Stage:
    """The account stage of one configured account."""
    return partial(AccountStage, config)(config.account(account_id), calendar)


def watermarked(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of ``names`` that carry watermarks."""
    return tuple(name for name in names if topic(name).watermarked)


def as_text() -> str:
    """The topology, one stage a line."""
    lines = []
    for spec in TOPOLOGY:
        joins = f" joined with {', '.join(spec.inputs[1:])}" if spec.joins else ""
        period = f", every {spec.period} s" if spec.period else ""
        flow = f"{spec.trigger}{joins} -> {', '.join(spec.outputs)}"
        lines.append(f"{spec.name:<10} {flow} ({spec.scale}{period})")
        lines.append(f"{'':<10} {spec.doc}")
    return "\n".join(lines)


def as_mermaid() -> str:
    """The topology as a Mermaid flow chart: topics are rounded, stages square."""
    lines = ["flowchart LR"]
    seen: set[str] = set()
    for spec in TOPOLOGY:
        for name in (*spec.inputs, *spec.outputs):
            if name not in seen:
                seen.add(name)
                lines.append(f"    {_node(name)}([{name}])")
        lines.append(f"    stage_{spec.name}[{spec.name}]")
        lines.append(f"    {_node(spec.trigger)} --> stage_{spec.name}")
        lines.extend(f"    {_node(join)} -. joins .-> stage_{spec.name}" for join in spec.inputs[1:])
        lines.extend(f"    stage_{spec.name} --> {_node(output)}" for output in spec.outputs)
    lines.append("    signals_t --> dispatcher[dispatcher, one per account] --> account_inbox_t")
    return "\n".join(lines)


def _node(name: str) -> str:
    return name.replace(".", "_") + "_t"
