"""What can fire, in which sessions it did, and in which it could have and did not."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.exits import ExitRule
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.gate_types import Identity, KillState
from tapedeck.streams.stages.account.rules.gates import GATES
from tapedeck.streams.stages.account.rules.orders import OrderReason, OrderState
from tapedeck.streams.stages.account.standing import HALT_STEPS
from tests.support.firing import exits, gates, orders, outlook
from tests.support.firing.registry import SESSIONS, played
from tests.support.floor import Floor

PARTS = (gates, exits, orders, outlook)
"""Importing them registers their sessions."""


class Kind(NamedTuple):
    """Something that can fire: a member of one of the code's own lists."""

    group: str
    name: str


PASSES = (GateReason.OK, GateReason.NOT_APPLICABLE)
WARNINGS = (
    "ORDER_UNKNOWN", "CLOSE_STUCK", "MARK_MISSING", "NEEDS_REVIEW", "DUST", "REGIME_UNKNOWN",
    "EARNINGS_UNKNOWN",
)  # fmt: skip
"""As docs/domain.md lists them."""
ALARMS = ("UNEXPECTED_SHORT",)
CATALOGUE: Mapping[str, Iterable[str]] = {
    "gate": [gate.name for gate in GATES],
    "gate reason": [*(each for each in GateReason if each not in PASSES), *ContractReason],
    "exit": ExitRule,
    "order state": OrderState,
    "order reason": OrderReason,
    "kill switch": KillState,
    "identity": Identity,
    "halt step": HALT_STEPS,
    "warning": WARNINGS,
    "alarm": ALARMS,
}
_ALWAYS_GIVEN = "the dispatcher gives every signal at least its own bar's time"
CANNOT: Mapping[Kind, str] = {
    Kind("gate reason", "EXPIRED"): "a chain is asked for from today on",
    Kind("gate reason", "BAR_MISSING"): _ALWAYS_GIVEN,
    Kind("gate reason", "FEATURE_MISSING"): _ALWAYS_GIVEN,
    Kind("gate reason", "POSITION_UNKNOWN"): "the account's own fold always says how much it could sell",
}
"""What a running system cannot come to, and why: a gate refuses it all the same."""


class Firing(NamedTuple):
    """The sessions in which something fired, and those in which it could have and did not."""

    fired: tuple[str, ...]
    quiet: tuple[str, ...]


def kinds() -> list[Kind]:
    """Everything in the catalogue."""
    return [Kind(group, str(name)) for group, names in CATALOGUE.items() for name in names]


def fired_in(floor: Floor) -> set[Kind]:
    """What happened in a session. A state of the kill switch and an identity count if it ended in them."""
    found = set()
    for proposal in floor.of("proposals"):
        for gate in proposal["gates"]:
            if not gate["passed"]:
                found |= {Kind("gate", gate["gate"]), Kind("gate reason", gate["reason"])}
    for exit_ in floor.of("exits"):
        found |= {Kind("exit", trigger["rule"]) for trigger in exit_["triggers"]}
    for order in floor.of("orders"):
        found.add(Kind("order state", order["state"]))
        found |= {Kind("order reason", order["reason"])} if order["reason"] else set()
    for account in floor.of("accounts"):
        found |= {Kind("halt step", account["halt_step"])} if account["halt_step"] else set()
        found |= {Kind("alarm", account["alarm"])} if account["alarm"] else set()
        found |= {Kind("warning", each.partition(":")[0]) for each in account["warnings"]}
    if floor.of("accounts"):
        last = floor.account()
        found |= {Kind("kill switch", last["kill_state"]), Kind("identity", last["identity"])}
    return found


def passed_in(floor: Floor) -> set[str]:
    """The gates that were asked in a session and never refused."""
    asked: dict[str, bool] = {}
    for proposal in floor.of("proposals"):
        for gate in proposal["gates"]:
            if gate["applies"]:
                asked[gate["gate"]] = asked.get(gate["gate"], True) and gate["passed"]
    return {name for name, passed in asked.items() if passed}


def gates_of() -> dict[str, set[str]]:
    """The gates that gave each reason, over all sessions."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in SESSIONS:
        for proposal in played(name).of("proposals"):
            for gate in proposal["gates"]:
                found[gate["reason"]].add(gate["gate"])
    return found


def table() -> dict[Kind, Firing]:
    """Each kind of the catalogue with its sessions."""
    fired = {name: fired_in(played(name)) for name in SESSIONS}
    passed = {name: passed_in(played(name)) for name in SESSIONS}
    reasons = gates_of()

    def could(name: str, kind: Kind) -> bool:
        floor = played(name)
        match kind.group:
            case "gate":
                return kind.name in passed[name]
            case "gate reason":
                return bool(reasons[kind.name]) and reasons[kind.name] <= passed[name]
            case "exit" | "warning":
                return bool(floor.of("positions"))
            case "order state" | "order reason":
                return bool(floor.of("proposals"))
            case _:
                return bool(floor.of("accounts"))

    return {
        kind: Firing(
            tuple(name for name in SESSIONS if kind in fired[name]),
            tuple(name for name in SESSIONS if kind not in fired[name] and could(name, kind)),
        )
        for kind in kinds()
    }


def in_words() -> str:
    """The table: a line for each kind, with the first session where it fires and the first where not."""
    lines = ["| what | fires in | does not in |", "| --- | --- | --- |"]
    for kind, found in table().items():
        first, other = (
            f"`{names[0]}`, {len(names)} in all" if names else "-" for names in (found.fired, found.quiet)
        )
        if kind in CANNOT:
            first, other = "cannot", CANNOT[kind]
        lines.append(f"| {kind.group} `{kind.name}` | {first} | {other} |")
    return "\n".join(lines)
