"""The connection of market data: the cases D1 to D8 of the field, and what else a server may do."""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tapedeck.connectors.alpaca.market import frames
from tapedeck.connectors.alpaca.market.endpoints import connection_name, require_data_host, stream_url
from tapedeck.connectors.alpaca.market.frames import Bar
from tapedeck.connectors.alpaca.market.inbox import FrameQueue, Gap
from tapedeck.connectors.alpaca.market.states import Health, Level, State, Timing, level
from tapedeck.connectors.alpaca.market.stream import MarketStream
from tapedeck.connectors.clock import ManualClock
from tapedeck.connectors.dispatch.lease import Lease, MemoryLeases
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import micros, xnys
from tests.support.market_script import (
    KEYS,
    Server,
    close,
    error,
    log_in,
    say,
    scripted,
    stay,
    subscribe,
    subscriptions,
    wait,
)

SYMBOLS = ("NVDA", "AMD", "META")
FAST = Timing(
    first_pause=0.02, longest_pause=0.16, ghost_from=0.05, ghost_to=0.1, answer=1.0, look=0.02,
    stale={"iex": 0.15}, lease_pause=0.05,
)  # fmt: skip
LIVE = (log_in, subscribe())


def at(text: str) -> int:
    return micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


IN_SESSION, AT_NIGHT = at("2026-02-17T15:00"), at("2026-02-18T03:00")


def bar(symbol: str = "NVDA", t: str = "2026-02-17T14:59:00Z") -> dict[str, Any]:
    return {"T": "b", "S": symbol, "o": 1, "h": 2, "l": 1, "c": 2, "v": 10, "t": t}


class Reader:
    """A stream with its queue, and every state that it reported."""

    def __init__(self, server: Server, *, now: int = AT_NIGHT, **options: Any) -> None:
        self.queue, self.health, self.told = FrameQueue(), Health(), list[tuple[State, str]]()
        self.clock = ManualClock(now)
        self.stream = MarketStream(
            server.url, "iex", lambda: KEYS, self.queue, self.on_state,
            **{"clock": self.clock, "calendar": xnys(), "timing": FAST, "rng": random.Random(1)} | options,
        )  # fmt: skip
        self.stream.want(SYMBOLS)

    def on_state(self, state: State, detail: str) -> None:
        self.told.append((state, detail))
        self.health.set(state, detail)

    @property
    def states(self) -> list[State]:
        """The states in order, each once in a row."""
        found: list[State] = []
        for state, _ in self.told:
            found += [] if found[-1:] == [state] else [state]
        return found

    def content(self) -> list[Any]:
        return [arrival.content for arrival in self.queue.take(0.0)]

    def bars(self) -> list[Bar]:
        values = [v for each in self.content() if isinstance(each, bytes) for v in frames.read(each)]
        return [value for value in values if isinstance(value, Bar)]


async def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)


def reading(
    *scripts: Any, true: Callable[[Reader, Server], bool], statuses: tuple[int, ...] = (), **options: Any
) -> tuple[Reader, Server]:
    """Read from the scripted server until ``true``."""

    async def main() -> tuple[Reader, Server]:
        async with scripted(*scripts, statuses=statuses) as server:
            reader = Reader(server, **options)
            task = asyncio.create_task(reader.stream.run())
            try:
                await until(lambda: task.done() or true(reader, server))
                if task.done():
                    task.result()
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError, Fatal):
                    await task
            return reader, server

    return asyncio.run(main())


def is_live(reader: Reader, server: Server) -> bool:
    return reader.health.state is State.LIVE


def is_live_again(reader: Reader, server: Server) -> bool:
    return server.opened == 2 and is_live(reader, server)


def test_log_in_and_subscription_name_the_feed_and_every_channel() -> None:
    reader, server = reading((*LIVE, stay), true=is_live)
    assert server.paths == ["/v2/iex"]
    auth, asked = server.heard
    assert auth == {"action": "auth", "key": KEYS.key, "secret": KEYS.secret}
    assert asked == {"action": "subscribe"} | {name: list(SYMBOLS) for name in frames.CHANNELS}
    assert reader.states == [State.CONNECTING, State.LIVE]
    assert reader.content() == [Gap("connection 1")]


def test_keys_are_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    reader, _ = reading((log_in, error(500, "no"), close), (*LIVE, stay), true=is_live)
    shown = f"{reader.told}{caplog.text}{reader.stream!r}{connection_name(reader.stream.url, KEYS.key)}"
    assert KEYS.secret not in shown and KEYS.key not in shown


def test_FLD_D1_ghost_session_is_waited_for_and_red_only_after_three_minutes() -> None:
    ghost = (log_in, error(406, "connection limit exceeded"), stay)
    reader, server = reading(ghost, ghost, ghost, (*LIVE, stay), true=is_live)
    assert server.opened == 4, "the ghost was met three times"
    assert reader.states == [State.CONNECTING, State.HELD_BY_GHOST, State.LIVE]
    pauses = [b - a for a, b in zip(server.at, server.at[1:], strict=False)]
    assert all(pause >= FAST.ghost_from for pause in pauses), "not the back-off: the ghost's own pause"
    assert Timing().ghost_from == 10 and Timing().ghost_to == 15
    assert level(State.HELD_BY_GHOST, 179) is Level.AMBER and level(State.HELD_BY_GHOST, 180) is Level.RED
    assert reader.content() == [Gap("connection 4")], "what the cut cost is asked for by REST"


def test_FLD_D1_time_in_the_ghosts_state_counts_over_all_tries() -> None:
    now = [0.0]
    health = Health(lambda: now[0])
    health.set(State.HELD_BY_GHOST, "first try")
    now[0] = 100.0
    health.set(State.HELD_BY_GHOST, "second try")
    assert (health.level, health.for_s) == (Level.AMBER, 100.0)
    now[0] = 180.0
    assert health.level is Level.RED


def test_FLD_D2_waiting_twin_does_not_dial_until_the_lease_is_free() -> None:
    leases = MemoryLeases()
    first = Lease(leases, "alpaca:x", "first", ttl_s=60.0)
    first.acquire()

    async def main() -> None:
        async with scripted((*LIVE, stay)) as server:
            twin = Reader(server, lease=Lease(leases, "alpaca:x", "twin"))
            task = asyncio.create_task(twin.stream.run())
            await until(lambda: twin.health.state is State.WAITING)
            await asyncio.sleep(0.3)
            assert server.paths == [] and twin.health.level is Level.GREEN
            assert "held by first" in twin.health.detail
            first.release()
            await until(lambda: twin.health.state is State.LIVE)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            first.acquire()  # the twin released it when it was stopped

    asyncio.run(main())


def test_FLD_D2_holder_whose_lease_was_taken_over_lets_the_connection_go() -> None:
    leases = MemoryLeases()

    async def main() -> None:
        async with scripted((*LIVE, stay)) as server:
            reader = Reader(server, lease=Lease(leases, "alpaca:x", "one"))
            task = asyncio.create_task(reader.stream.run())
            await until(lambda: reader.health.state is State.LIVE)
            leases._rows["alpaca:x"] = (9, "two", 1e18)
            await until(lambda: reader.health.state is State.WAITING)
            await asyncio.sleep(0.2)
            assert server.opened == 1
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_FLD_D3_back_off_after_429_grows_and_only_data_makes_it_short_again() -> None:
    mute, spoken = (*LIVE, wait(0.05), close), (*LIVE, say(bar()), wait(0.05), close)
    reader, server = reading(
        mute, mute, mute, spoken, (*LIVE, stay), statuses=(429, 429, 429, 429),
        true=lambda reader, server: server.opened == 5 and is_live(reader, server),
    )  # fmt: skip
    pauses = [b - a for a, b in zip(server.at, server.at[1:], strict=False)]
    assert State.RATE_LIMITED in reader.states
    assert pauses[3] >= 0.08 and pauses[0] < pauses[3], "1, 2, 4, 8 times the first pause, less at most half"
    assert all(pause >= 0.08 for pause in pauses[4:7]), "a connection that was mute resets nothing"
    assert pauses[7] < 0.05 + 0.06, "data did"


def test_FLD_D3_pause_is_equal_jitter_between_half_and_all_of_a_doubling_bound() -> None:
    stream = MarketStream(
        "http://127.0.0.1:1", "iex", lambda: KEYS, FrameQueue(), lambda *told: None,
        clock=ManualClock(), calendar=xnys(), rng=random.Random(3),
    )  # fmt: skip
    from tapedeck.connectors.alpaca.market.states import Lost

    for failures, bound in ((1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (400, 30)):
        stream._failures = failures
        pauses = [stream._pause(Lost(State.CONNECTING, "")) for _ in range(200)]
        assert bound / 2 <= min(pauses) < 0.6 * bound and 0.9 * bound < max(pauses) <= bound
    assert stream._pause(Lost(State.RATE_LIMITED, "", 45.0)) == 45.0
    assert stream._pause(Lost(State.RATE_LIMITED, "", 4500.0)) == 60.0


def test_FLD_D4_silence_in_the_session_forces_a_new_connection() -> None:
    reader, _ = reading(
        (*LIVE, stay), (*LIVE, say(bar()), stay), now=IN_SESSION,
        true=is_live_again,
    )  # fmt: skip
    assert reader.states == [State.CONNECTING, State.LIVE, State.STALE, State.LIVE]
    assert reader.content()[:2] == [Gap("connection 1"), Gap("connection 2")]


@pytest.mark.parametrize("now", [AT_NIGHT, at("2026-02-16T15:00"), at("2026-02-17T14:30:00.100")])
def test_FLD_D4_silence_outside_a_session_and_just_after_its_open_is_no_fault(now: int) -> None:
    began: list[float] = []

    def long_enough(reader: Reader, server: Server) -> bool:
        began[:] = began or ([time.monotonic()] if is_live(reader, server) else [])
        return bool(began) and time.monotonic() - began[0] > 0.4

    reader, server = reading((*LIVE, stay), now=now, true=long_enough)
    assert (server.opened, reader.health.state) == (1, State.LIVE)


def test_FLD_D4_silence_while_every_symbol_is_halted_is_no_fault() -> None:
    began = time.monotonic()
    _, server = reading(
        (*LIVE, stay), now=IN_SESSION, quiet=lambda: True, true=lambda *_: time.monotonic() - began > 0.6
    )
    assert server.opened == 1


def test_FLD_D5_burst_at_the_open_is_read_whole_while_nobody_works_on_it() -> None:
    burst = [say(*(bar(f"S{n}") for n in range(k, k + 100))) for k in range(0, 10_000, 100)]
    reader, _ = reading((*LIVE, *burst, stay), true=lambda reader, server: reader.queue.depth == 101)
    time.sleep(0.05)
    assert (
        sum(
            len(frames.read(each.content))
            for each in reader.queue.take(0)
            if each.content != Gap("connection 1")
        )
        == 10_000
    )
    assert reader.queue.longest_delay_s() >= 0.05 and reader.queue.longest_delay_s() == 0.0


def test_FLD_D6_slow_handler_does_not_stop_the_reader() -> None:
    lines = [step for n in range(20) for step in (say(bar(f"S{n}")), wait(0.05))]
    taken: list[Any] = []

    async def main() -> None:
        async with scripted((*LIVE, *lines, stay)) as server:
            reader = Reader(server)
            task = asyncio.create_task(reader.stream.run())
            await until(lambda: is_live(reader, server))

            def handle() -> None:
                taken.extend(reader.queue.take(1.0))
                time.sleep(1.5)  # the handler sleeps through all that is sent

            worker = threading.Thread(target=handle)
            worker.start()
            await until(lambda: reader.queue.depth + len(taken) >= 21)
            assert worker.is_alive(), "every bar was read while the handler slept"
            assert server.opened == 1
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            worker.join()

    asyncio.run(main())


def test_FLD_D6_slow_client_error_is_acted_on() -> None:
    reader, _ = reading((*LIVE, error(407, "slow client"), stay), (*LIVE, stay), true=is_live_again)
    assert any("407" in detail and "slowly" in detail for _, detail in reader.told)


def test_FLD_D7_symbols_that_are_not_acknowledged_are_named() -> None:
    reader, _ = reading(
        (log_in, subscribe(but=("AMD",)), stay), true=lambda reader, _: reader.health.state is State.PARTIAL
    )
    assert reader.stream.missing == ("AMD",)
    assert "bars of AMD" in reader.health.detail and reader.health.level is Level.AMBER


def test_FLD_D7_above_the_symbol_limit_the_first_symbols_are_kept() -> None:
    reader, server = reading(
        (log_in, subscriptions(most=2)), true=lambda reader, _: reader.health.state is State.PARTIAL
    )
    assert any(len(asked.get("bars", [])) == 3 for asked in server.heard), "405 happened"
    assert reader.stream.missing == ("META",), "the caller's order: positions' underlyings come first"
    assert level(State.PARTIAL, 10_000) is Level.AMBER


@pytest.mark.parametrize(("code", "remedy"), [(402, "key"), (409, "bars.feed")])
def test_FLD_D8_refused_keys_and_plan_stop_with_a_remedy(code: int, remedy: str) -> None:
    with pytest.raises(Fatal, match=remedy):
        reading((log_in, error(code), stay), true=lambda *_: False)


def test_FLD_D8_refused_keys_at_the_handshake_stop_with_a_remedy() -> None:
    with pytest.raises(Fatal, match="check the key"):
        reading((stay,), statuses=(401,), true=lambda *_: False)


@pytest.mark.parametrize("code", [404, 406, 407, 500, 999])
@pytest.mark.parametrize("is_late", [False, True])
def test_FLD_D8_other_errors_are_tried_again(code: int, is_late: bool) -> None:
    first = (*(LIVE if is_late else (log_in,)), error(code), stay)
    reader, server = reading(first, (*LIVE, stay), true=is_live_again)
    assert any(f"error {code}" in detail for _, detail in reader.told)
    assert server.opened == 2


def test_FLD_D17_feed_is_in_the_address_of_the_stream() -> None:
    assert stream_url("https://data.alpaca.markets", "sip") == "wss://stream.data.alpaca.markets/v2/sip"
    assert stream_url("http://127.0.0.1:8080", "iex") == "ws://127.0.0.1:8080/v2/iex"
    assert connection_name("wss://a/v2/iex", "k") != connection_name("wss://a/v2/sip", "k")
    with pytest.raises(Fatal, match=r"bars\.feed"):
        MarketStream("http://127.0.0.1:1", "", lambda: KEYS, FrameQueue(), lambda *t: None,
                     clock=ManualClock(), calendar=xnys())  # fmt: skip


@pytest.mark.parametrize(
    "url", ["http://data.alpaca.markets", "https://data.alpaca.markets.evil.com", "https://x@data.alpaca.markets",
            "ftp://127.0.0.1", "https://10.0.0.1", ""],
)  # fmt: skip
def test_keys_go_to_alpaca_or_this_machine_only(url: str) -> None:
    with pytest.raises(Fatal, match="keys"):
        require_data_host(url)


def test_changed_wishes_are_subscribed_on_the_same_connection() -> None:
    async def main() -> None:
        async with scripted((log_in, subscriptions())) as server:
            reader = Reader(server)
            task = asyncio.create_task(reader.stream.run())
            await until(lambda: is_live(reader, server))
            reader.stream.want(("AMD", "NVDA", "IBM"))
            await until(lambda: len(server.heard) == 4)
            assert [each["action"] for each in server.heard[2:]] == ["unsubscribe", "subscribe"]
            assert (server.heard[2]["bars"], server.heard[3]["bars"]) == (["META"], ["IBM"])
            assert server.opened == 1
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_mute_server_and_garbage_are_tried_again() -> None:
    fast = replace(FAST, answer=0.1)
    reader, server = reading(
        (stay,), (say(5),), (say({"T": "zz"}), stay), (*LIVE, stay), timing=fast, true=is_live
    )
    assert server.opened == 4
    assert any("cannot be read" in detail for _, detail in reader.told)
