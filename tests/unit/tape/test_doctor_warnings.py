"""What accounts warn of, as the doctor tells it: each kind with its first step, and nothing twice."""

from dataclasses import replace

import pytest

from tapedeck.tape.doctor.checks.warnings import KINDS
from tapedeck.tape.doctor.diagnose import diagnose
from tapedeck.tape.doctor.findings import Finding, Severity
from tapedeck.tape.doctor.snapshot import Snapshot
from tests.support.breaks import account, order
from tests.support.doctor import healthy

MINUTE_US = 60_000_000


def told(snap: Snapshot) -> list[Finding]:
    return [each for each in diagnose(snap).findings if each.check == "warnings"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_names_its_subject_its_account_and_a_first_step(kind: str) -> None:
    (found,) = told(account(warnings=(f"{kind}:AMD",))(healthy()))
    assert "account tiny" in found.what and "AMD" in found.what and found.stage == "dispatch-tiny"
    assert found.severity in (Severity.RED, Severity.AMBER) and found.remedy and "{" not in found.remedy


def test_a_kind_of_a_later_release_is_told_as_it_is() -> None:
    (found,) = told(account(warnings=("SOMETHING_NEW:AMD",))(healthy()))
    assert found.severity is Severity.AMBER and "SOMETHING_NEW AMD" in found.what


def test_an_order_in_doubt_is_told_once() -> None:
    snap = order("UNKNOWN", 2 * MINUTE_US)(healthy())
    name = snap.orders[0].order
    (found,) = told(account(warnings=(f"ORDER_UNKNOWN:{name}",))(snap))
    assert found.severity is Severity.GREEN
    assert [each.check for each in diagnose(snap).faults] == ["orders"]
    (found,) = told(account(warnings=("ORDER_UNKNOWN:td1-another",))(snap))
    assert found.severity is Severity.RED


@pytest.mark.parametrize("step", [None, "FLAT"])
def test_an_account_that_warns_of_nothing_or_is_flat_is_well(step: str | None) -> None:
    (found,) = told(account(halt_step=step)(healthy()))
    assert found.severity is Severity.GREEN and "warn of nothing" in found.what


def test_without_records_of_accounts_nothing_is_said() -> None:
    (found,) = told(replace(healthy(), accounts=()))
    assert found.severity is Severity.NOT_EXPECTED
