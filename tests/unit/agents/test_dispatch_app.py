"""A dispatcher's process: its lease while it starts, and its broker after the line was lost."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest

from tapedeck.agents import account
from tapedeck.agents.account import DispatchApp
from tapedeck.agents.app import new_app
from tapedeck.agents.precedence import Precedence
from tapedeck.agents.settings import Settings
from tapedeck.connectors.dispatch.hearing import Hearing
from tapedeck.connectors.dispatch.lease import LeaseLost, LeaseShort
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Retry
from tapedeck.streams.config.accounts import Mode


@pytest.fixture
def dispatch() -> DispatchApp:
    made = DispatchApp.__new__(DispatchApp)
    made._account_id = "large"
    made._calls = ThreadPoolExecutor(max_workers=1)
    made._turns = Precedence()
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


def test_a_dispatcher_that_nobody_let_open_says_so_with_the_command_until_somebody_does(
    dispatch: DispatchApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """OPS-F5: every proposal was refused KILL_SWITCH_UNKNOWN without a line."""
    monkeypatch.setattr(account, "ARMED_S", 0.0)
    dispatch._settings = cast(Any, SimpleNamespace(cluster=Cluster("127.0.0.1:1")))
    one = SimpleNamespace(key=b"large")
    answers = [[], [one], [one], [one, SimpleNamespace(key=b"*")]]
    monkeypatch.setattr(account, "read_topic", lambda cluster, name: answers.pop(0))
    caplog.set_level("INFO")
    asyncio.run(dispatch._armed())
    assert answers == []
    said, over = (record.getMessage() for record in caplog.records)
    assert "KILL_SWITCH_UNKNOWN" in said and "`tape release all --person NAME --reason WHY`" in said
    assert over == "large no longer waits"


def test_a_lease_is_renewed_from_the_start_on_and_its_loss_ends_the_process(
    dispatch: DispatchApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(account, "RENEW_S", 0.0)
    renewals: list[Any] = [None, Retry("the lease store does not answer"), LeaseLost("taken over")]
    crashed = []

    def renew() -> None:
        if (answer := renewals.pop(0)) is not None:
            raise answer

    async def crash(error: BaseException) -> None:
        crashed.append(error)

    told = "1 calls of the broker and 2 records were held back"
    dispatch._lease = cast(Any, SimpleNamespace(renew=renew, told=lambda: told))
    dispatch.stage_app = cast(
        Any, type("StageApp", (), {"app": type("App", (), {"crash": staticmethod(crash)})})
    )
    with pytest.raises(LeaseLost):
        asyncio.run(dispatch._renew())
    assert renewals == [] and [type(each) for each in crashed] == [LeaseLost]
    assert f"large has another dispatcher: {told}" in caplog.text


def test_a_task_that_keeps_the_lease_begins_before_the_tables_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: faust.App) -> None:
        pass

    settings = Settings(cluster=Cluster("nowhere:9"), config_path=tmp_path / "tape.toml", home=tmp_path)
    app = new_app("dispatch-large", settings, "dispatch-large", "partition")
    monkeypatch.setattr(faust.App, "on_start", nothing)
    begun: list[Callable[..., Any]] = []
    monkeypatch.setattr(app, "add_future", lambda task: (begun.append(task), task.close()))

    async def renew() -> None:
        pass

    app.while_recovering.append(renew)
    asyncio.run(app.on_start())
    assert len(begun) == 1


def test_a_line_that_was_lost_is_followed_by_a_comparison_with_the_broker(
    dispatch: DispatchApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Updates:
        def __init__(
            self,
            url: str,
            keys: Any,
            on_update: Any,
            on_health: Any,
            *,
            on_empty: Any,
            working: Any,
            mode: Mode,
        ) -> None:
            self._on_health = on_health

        async def run(self) -> None:
            for healthy in (True, False, True):
                self._on_health(healthy, "")
                await asyncio.sleep(0.01)
                compared.append(len(asked))

    asked: list[str] = []
    compared: list[int] = []
    written: list[bool] = []

    async def call(request: dict[str, Any]) -> None:
        asked.append(request["kind"])

    async def append(bodies: list[bool]) -> None:
        written.extend(bodies)

    async def updates() -> None:
        dispatch._started = asyncio.Event()
        dispatch._started.set()
        loop = asyncio.get_running_loop()
        dispatch.stage_app = cast(
            Any,
            type("StageApp", (), {"app": type("App", (), {"add_future": staticmethod(loop.create_task)})}),
        )
        dispatch._arrived = asyncio.Queue()
        dispatch._hearing = Hearing(dispatch.dispatcher, dispatch._arrived.put_nowait, dispatch._later)
        await dispatch._updates()
        await asyncio.sleep(0.01)

    dispatch._base_url, dispatch._keys = "http://nowhere", cast(Any, None)
    dispatch._mode = Mode.PAPER
    dispatch.dispatcher = cast(
        Any, type("Desk", (), {"stream": staticmethod(lambda healthy, detail: healthy), "working": False})
    )
    monkeypatch.setattr(account, "TradeUpdates", Updates)
    monkeypatch.setattr(dispatch, "_call", call)
    monkeypatch.setattr(dispatch, "append", append)
    asyncio.run(updates())
    assert compared == [2, 2, 4], "each connection compares, the first one too"
    assert (asked, written) == (["FETCH_ACCOUNT", "FETCH_BROKER"] * 2, [True, False, True])
