"""The trade-update stream: binary frames, repeats, disorder, cuts, silence, refusal."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import websockets
from alpaca.trading.stream import TradingStream

from tapedeck.connectors.alpaca import updates as stream
from tapedeck.connectors.alpaca.updates import TradeUpdates, stream_url
from tapedeck.connectors.broker import TradeUpdate, UnreadRow
from tapedeck.connectors.credentials import Credentials, Keys
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Fault
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.stages.account.rules.orders import OrderState
from tests.support.paper import (
    CALL,
    LARGE,
    LARGE_KEYS,
    TEN,
    TINY,
    StepClock,
    arm,
    exchange,
    order,
    serving,
    state,
)


@pytest.fixture
def paper() -> PaperExchange:
    return exchange()


@pytest.fixture
def url(paper: PaperExchange) -> Iterator[str]:
    with serving(paper, StepClock(TEN)) as address:
        yield address


class Ear:
    """What a reader told us."""

    def __init__(self) -> None:
        self.updates: list[Any] = []
        self.health: list[tuple[bool, str]] = []

    def on_update(self, update: TradeUpdate | UnreadRow) -> None:
        self.updates.append(update)

    def on_health(self, healthy: bool, detail: str) -> None:
        self.health.append((healthy, detail))


async def _until(true: Callable[[], bool], within_s: float = 5.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


def listening(url: str, body: Callable[[Ear, TradeUpdates], Awaitable[None]], **options: Any) -> Ear:
    """Run ``body`` beside a reader that is connected; give what was heard."""
    ear = Ear()

    async def main() -> None:
        reader = TradeUpdates(url, LARGE_KEYS, ear.on_update, ear.on_health, **options)
        task = asyncio.create_task(reader.run())
        try:
            await _until(lambda: bool(ear.health))
            await body(ear, reader)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())
    return ear


async def _post(url: str, number: int, limit: str = "2.10", secret: str = LARGE.secret) -> None:
    import requests

    body = order(f"td1-{number}", limit_price=limit)
    headers = {"APCA-API-KEY-ID": LARGE.key, "APCA-API-SECRET-KEY": secret}
    answer = await asyncio.to_thread(requests.post, f"{url}/v2/orders", json=body, headers=headers, timeout=5)
    assert answer.ok, answer.text


def test_updates_arrive_in_order_with_their_execution(url: str) -> None:
    async def body(ear: Ear, reader: TradeUpdates) -> None:
        await _post(url, 1)
        await _until(lambda: len(ear.updates) == 2)

    ear = listening(url, body)
    new, fill = ear.updates
    assert (new.event, new.order.state, new.execution_id) == ("new", OrderState.ACCEPTED, None)
    assert (fill.event, fill.order.state, fill.time) == ("fill", OrderState.FILLED, TEN)
    assert (str(fill.price), str(fill.qty), str(fill.fee)) == ("2.1", "2", "0.1")
    assert ear.health == [(True, "trade updates connected, connection 1")]


def test_frames_are_binary_as_alpacas_are(url: str) -> None:
    async def main() -> list[Any]:
        async with websockets.connect(stream_url(url), proxy=None) as line:
            keys = f'{{"key_id":"{LARGE.key}","secret_key":"{LARGE.secret}"}}'
            await line.send(f'{{"action":"authenticate","data":{keys}}}')
            await line.send('{"action":"listen","data":{"streams":["trade_updates"]}}')
            await _post(url, 1)
            return [await line.recv() for _ in range(4)]

    frames = asyncio.run(main())
    assert all(isinstance(frame, bytes) for frame in frames)
    assert b'"authorized"' in frames[0] and b'"listening"' in frames[1] and b'"fill"' in frames[3]


def test_real_trading_stream_hears_the_paper_exchange(url: str) -> None:
    heard: list[str] = []
    theirs = TradingStream(LARGE.key, LARGE.secret, url_override=stream_url(url))

    async def handler(update: Any) -> None:
        heard.append(str(update.event))

    theirs.subscribe_trade_updates(handler)
    thread = threading.Thread(target=theirs.run, daemon=True)
    thread.start()

    async def body() -> None:
        await _until(lambda: theirs._running)
        await asyncio.sleep(0.1)
        await _post(url, 1)
        await _until(lambda: len(heard) == 2)

    asyncio.run(body())
    theirs.stop()
    thread.join(8)
    assert heard == ["new", "fill"]


@pytest.mark.parametrize(
    ("fault", "events"),
    [
        (Fault.UPDATE_TWICE, ["new", "new", "fill"]),
        (Fault.UPDATE_AFTER_NEXT, ["fill", "new"]),
        (Fault.UPDATE_LOST, ["fill"]),
    ],
)
def test_faulty_streams_are_handed_on_as_they_are(url: str, fault: Fault, events: list[str]) -> None:
    arm(url, fault.value)

    async def body(ear: Ear, reader: TradeUpdates) -> None:
        await _post(url, 1)
        await _until(lambda: len(ear.updates) == len(events))

    ear = listening(url, body)
    assert [update.event for update in ear.updates] == events
    assert state(url)["fired"][fault.value] == 1


def test_cut_line_is_announced_and_connected_again(url: str) -> None:
    async def body(ear: Ear, reader: TradeUpdates) -> None:
        arm(url, Fault.STREAM_CUT.value)
        await _post(url, 1)
        await _until(lambda: reader.connections == 2)
        await _post(url, 2)
        await _until(lambda: bool(ear.updates))

    ear = listening(url, body)
    assert [healthy for healthy, _ in ear.health] == [True, False, True]
    assert "connection 2" in ear.health[-1][1]
    assert state(url)["fired"][Fault.STREAM_CUT.value] == 1
    assert {update.order.client_order_id for update in ear.updates} == {"td1-2"}  # a cut line replays nothing


def test_silence_while_an_order_works_is_taken_for_a_dead_line(url: str) -> None:
    async def body(ear: Ear, reader: TradeUpdates) -> None:
        await _until(lambda: reader.connections == 2)

    ear = listening(url, body, working=lambda: True, max_silence_s=0.2)
    assert ear.health[1] == (False, "trade updates lost: silent for 0.2 s while an order works")


def test_silence_without_a_working_order_is_no_fault(url: str) -> None:
    async def body(ear: Ear, reader: TradeUpdates) -> None:
        await asyncio.sleep(0.6)

    assert len(listening(url, body, working=lambda: False, max_silence_s=0.1).health) == 1


def test_a_reader_that_is_cancelled_as_a_frame_comes_ends() -> None:
    class Line:
        """A line whose frames come when the test says."""

        frame: asyncio.Future[str]

        async def recv(self) -> str:
            self.frame = asyncio.get_running_loop().create_future()
            return await self.frame

    async def listen(line: Line) -> None:
        while True:
            await stream.heard(line, 5.0)  # type: ignore[arg-type]

    async def main() -> None:
        for turns in range(4):  # one of them is the turn in which a cancellation could be taken for the frame
            line = Line()
            reader = asyncio.create_task(listen(line))
            await asyncio.sleep(0.01)
            line.frame.set_result("frame")
            for _ in range(turns):
                await asyncio.sleep(0)
            reader.cancel()
            await asyncio.wait([reader], timeout=1)
            assert reader.cancelled(), f"the reader goes on after {turns} turns"

    asyncio.run(main())


def test_server_that_is_away_is_tried_again_with_longer_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    ear = Ear()

    async def main() -> None:
        task = asyncio.create_task(
            TradeUpdates("http://127.0.0.1:9", LARGE_KEYS, ear.on_update, ear.on_health).run()
        )
        while len(pauses) < 9:
            await sleep(0.01)
        task.cancel()

    monkeypatch.setattr(stream.asyncio, "sleep", note)
    asyncio.run(main())
    assert pauses[0] < 1.0
    assert pauses[0] < pauses[2] < pauses[4]
    assert all(pause <= 1.2 * stream.LONGEST_PAUSE_S for pause in pauses)
    assert {healthy for healthy, _ in ear.health} == {False}


def test_refused_credentials_end_the_reader(url: str) -> None:
    wrong = Credentials(key=LARGE.key, secret=TINY.secret)
    ear = Ear()
    with pytest.raises(Fatal, match="refused the credentials") as refused:
        asyncio.run(TradeUpdates(url, wrong, ear.on_update, ear.on_health).run())
    assert TINY.secret not in str(refused.value)


def test_credentials_that_are_replaced_later_are_used_by_the_next_connection(
    url: str, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker replaces the secret and cuts the connection; the new one is written a moment after."""
    monkeypatch.setattr(stream, "FIRST_PAUSE_S", 0.02)
    environment = {"X_KEY": LARGE.key, "X_SECRET": LARGE.secret}
    keys, book = Keys("X_KEY", "X_SECRET", environment), paper._books[LARGE.number]
    ear = Ear()

    async def main() -> None:
        task = asyncio.create_task(TradeUpdates(url, keys, ear.on_update, ear.on_health).run())
        try:
            await _until(lambda: bool(ear.health))
            book.account = book.account._replace(secret="secret-large-2")
            arm(url, Fault.STREAM_CUT.value)
            await _post(url, 1, secret="secret-large-2")
            words = "trade updates lost: the broker refuses the credentials of the trade-update stream"
            await _until(lambda: (False, words) in ear.health)
            environment["X_SECRET"] = "secret-large-2"
            await _until(lambda: ear.health[-1] == (True, "trade updates connected, connection 2"))
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert "secret-large" not in str(ear.health)


def test_error_of_the_listener_ends_the_reader_instead_of_deafening_it(url: str) -> None:
    def broken(update: TradeUpdate | UnreadRow) -> None:
        raise ZeroDivisionError("a bug")

    async def main() -> None:
        ear = Ear()
        task = asyncio.create_task(TradeUpdates(url, LARGE_KEYS, broken, ear.on_health).run())
        await _until(lambda: bool(ear.health))
        await _post(url, 1)
        await asyncio.wait_for(task, 5)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())


def test_update_that_is_not_understood_is_handed_on_raw_and_the_line_goes_on(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = stream.replies.trade_update
    seen: list[int] = []

    def once_broken(raw: dict[str, Any]) -> TradeUpdate:
        seen.append(1)
        if len(seen) == 2:
            raw["order"]["side"] = "teleport"
        return read({"event": "x", "symbol": raw["order"]["symbol"]} if len(seen) == 1 else raw)

    monkeypatch.setattr(stream.replies, "trade_update", once_broken)

    async def body(ear: Ear, reader: TradeUpdates) -> None:
        await _post(url, 1)
        await _post(url, 2)
        await _until(lambda: len(ear.updates) == 4)
        assert (reader.connections, reader.unreadable) == (1, 2)

    ear = listening(url, body)
    lost, fill, *after = ear.updates
    assert isinstance(lost, UnreadRow) and "KeyError" in lost.error and lost.instrument == CALL
    assert isinstance(fill, UnreadRow)
    assert (fill.instrument, fill.side, fill.client_order_id) == (CALL, "teleport", "td1-1")
    assert [update.event for update in after if isinstance(update, TradeUpdate)] == ["new", "fill"]
    assert [healthy for healthy, _ in ear.health] == [True]


def test_frame_that_is_no_message_is_announced_and_the_line_made_anew() -> None:
    ear = Ear()
    reader = TradeUpdates("http://127.0.0.1:9", LARGE_KEYS, ear.on_update, ear.on_health)
    for frame in (b"\xff\xfe", "{", "[]", '"listening"'):
        with pytest.raises(stream.StreamLost, match="cannot be read"):
            reader._read(frame)
    assert reader.unreadable == 4


def test_other_accounts_updates_are_not_heard(url: str, paper: PaperExchange) -> None:
    async def body(ear: Ear, reader: TradeUpdates) -> None:
        paper.submit(TINY.number, order("td1-t", qty="1"))
        await _post(url, 1)
        await _until(lambda: len(ear.updates) == 2)

    assert {update.order.client_order_id for update in listening(url, body).updates} == {"td1-1"}


def test_handshake_puts_no_secret_into_the_log(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def body(ear: Ear, reader: TradeUpdates) -> None:
        await _post(url, 1)
        await _until(lambda: len(ear.updates) == 2)

    ear = listening(url, body)
    for text in (caplog.text, *(detail for _, detail in ear.health)):
        assert LARGE.secret not in text
