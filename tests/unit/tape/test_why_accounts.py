"""``why`` behind the signal: the gate, the size or the order that ended it, and by how much."""

from typing import Any

import pytest

from tapedeck.streams.stages.account.decide import Verdict
from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.orders import OrderReason, OrderState
from tapedeck.streams.stages.account.rules.sizing import SizeReason
from tapedeck.streams.stages.account.trail import Unstated
from tests.support.paths import bodies, morning
from tests.support.whys import SYMBOL, Body, Change, at, changed, first, nothing, signal, told


def proposal(**fields: Any) -> dict[str, Change]:
    """The large account's proposal of the signal with other fields."""
    return {
        "proposals": lambda body: (
            body | fields
            if (body["account_id"], body["signal_id"]) == ("large", signal()["signal_id"])
            else body
        )
    }


def gates(name: str, reason: str, observed: str | None, threshold: str | None) -> list[Body]:
    """The proposal's gates, ``name`` refusing."""
    found = next(body for body in bodies(morning().log, "proposals") if body["symbol"] == SYMBOL)["gates"]
    bad = {"applies": True, "passed": False, "reason": reason, "observed": observed, "threshold": threshold}
    return [gate | bad if gate["gate"] == name else gate for gate in found]


@pytest.mark.parametrize(
    "reason", [each for each in GateReason if each not in (GateReason.OK, GateReason.NOT_APPLICABLE)]
)
def test_a_refusing_gate_names_itself_its_value_and_its_limit(reason: GateReason) -> None:
    refused = proposal(
        verdict="REFUSED", primary_reason=reason.value, gates=gates("max_exposure", reason.value, "60", "50")
    )
    found = told(changed(refused), at=at(), account="large")
    assert first(found) == ("proposals", reason.value, "max_exposure is 60 USD, limit 50 USD: 10 USD over")


@pytest.mark.parametrize("reason", ContractReason)
def test_a_refused_contract_says_what_the_filters_counted(reason: ContractReason) -> None:
    refused = proposal(
        verdict="REFUSED",
        primary_reason=reason.value,
        gates=gates("contract_quality", reason.value, "LOW_VOLUME 42", "70"),
    )
    stage, named, says = first(told(changed(refused), at=at(), account="large"))
    assert (stage, named) == ("proposals", reason.value)
    assert says == "gate contract_quality, it saw LOW_VOLUME 42"


@pytest.mark.parametrize("reason", [SizeReason.SIZE_BELOW_ONE_UNIT, SizeReason.SIZE_INPUT_MISSING])
def test_a_proposal_of_size_zero_says_why(reason: SizeReason) -> None:
    unsized = proposal(verdict="NOT_SIZED", sizing_reason=reason.value)
    assert first(told(changed(unsized), at=at(), account="large"))[:2] == ("proposals", reason.value)


def test_a_shadow_account_and_one_that_has_not_decided_say_so() -> None:
    shadowed = told(changed(proposal(verdict="SHADOWED")), at=at(), account="large")
    assert first(shadowed)[:2] == ("proposals", Verdict.SHADOWED.value)
    undecided = told(changed({"proposals": nothing}), at=at(), account="large")
    assert first(undecided)[:2] == ("proposals", Unstated.NO_PROPOSAL.value)


@pytest.mark.parametrize(
    "state, reason, told_as",
    [
        ("REJECTED", "BROKER_REJECTED", OrderReason.BROKER_REJECTED),
        ("NOT_SENT", "KEPT_BACK", OrderReason.KEPT_BACK),
        ("NOT_SENT", "NOT_FOUND_AT_BROKER", OrderReason.NOT_FOUND_AT_BROKER),
        ("NOT_SENT", "SHADOW_NOT_SENT", OrderReason.SHADOW_NOT_SENT),
        ("UNKNOWN", "STATE_UNKNOWN", OrderReason.STATE_UNKNOWN),
        ("INTENT", None, OrderState.INTENT),
    ],
)
def test_an_order_that_the_broker_never_took_says_where_it_stands(
    state: str, reason: str | None, told_as: str
) -> None:
    never = {"state": state, "reason": reason, "broker_order_id": None, "detail": "so it is"}
    changes: dict[str, Change] = {"orders": lambda body: body | never, "executions": nothing}
    found = first(told(changed(changes), at=at(), account="large"))
    assert found == ("orders", str(told_as), "so it is")


def test_an_approved_proposal_without_an_order_says_so() -> None:
    gone: dict[str, Change] = {"orders": nothing, "executions": nothing}
    assert first(told(changed(gone), at=at(), account="large"))[:2] == ("orders", Unstated.NO_ORDER.value)


@pytest.mark.parametrize(
    "state, reason",
    [
        ("ACCEPTED", "NO_EXECUTION"),
        ("CANCELED", "CANCELED"),
        ("EXPIRED", "EXPIRED"),
        ("REPLACED", "REPLACED"),
    ],
)
def test_an_order_without_a_fill_says_how_it_ended(state: str, reason: str) -> None:
    changes: dict[str, Change] = {"orders": lambda body: body | {"state": state}, "executions": nothing}
    assert first(told(changed(changes), at=at(), account="large"))[:2] == ("executions", reason)
