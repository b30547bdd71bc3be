"""A dispatcher whose start lasts longer than its lease keeps it meanwhile, and waits for a short one."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import faust
import pytest

from tapedeck.agents import account
from tapedeck.agents.account import DispatchApp
from tapedeck.agents.app import new_app
from tapedeck.connectors.dispatch.lease import LeaseLost, LeaseShort
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Retry


@pytest.fixture
def dispatch() -> DispatchApp:
    made = DispatchApp.__new__(DispatchApp)
    made._account_id = "large"
    made._calls = ThreadPoolExecutor(max_workers=1)
    return made


def test_what_is_asked_of_the_broker_at_the_start_waits_for_a_lease_that_is_short(
    dispatch: DispatchApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(account, "TICK_S", 0.0)
    answers: list[Any] = [LeaseShort("the lease of large has 0.0 s left"), "passed"]

    def self_test() -> str:
        answer = answers.pop(0)
        if isinstance(answer, LeaseShort):
            raise answer
        return str(answer)

    assert asyncio.run(dispatch._on_broker(self_test)) == "passed"
    assert answers == [] and "large waits: the lease of large has 0.0 s left" in caplog.text


def test_a_lease_is_renewed_from_the_start_on_and_its_loss_ends_the_process(
    dispatch: DispatchApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "RENEW_S", 0.0)
    renewals: list[Any] = [None, Retry("the lease store does not answer"), LeaseLost("taken over")]
    crashed = []

    def renew() -> None:
        if (answer := renewals.pop(0)) is not None:
            raise answer

    async def crash(error: BaseException) -> None:
        crashed.append(error)

    dispatch._lease = cast(Any, type("Lease", (), {"renew": staticmethod(renew)}))
    dispatch.stage_app = cast(
        Any, type("StageApp", (), {"app": type("App", (), {"crash": staticmethod(crash)})})
    )
    with pytest.raises(LeaseLost):
        asyncio.run(dispatch._renew())
    assert renewals == [] and [type(each) for each in crashed] == [LeaseLost]


def test_a_task_that_keeps_the_lease_begins_before_the_tables_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: faust.App) -> None:
        pass

    settings = cast(Any, type("Settings", (), {"home": tmp_path, "cluster": Cluster("nowhere:9")}))
    app = new_app("dispatch-large", settings, "dispatch-large", "partition")
    monkeypatch.setattr(faust.App, "on_start", nothing)
    begun: list[Callable[..., Any]] = []
    monkeypatch.setattr(app, "add_future", lambda task: (begun.append(task), task.close()))

    async def renew() -> None:
        pass

    app.while_recovering.append(renew)
    asyncio.run(app.on_start())
    assert len(begun) == 1
