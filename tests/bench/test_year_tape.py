"""The year's tape holds what the player would have written, record for record."""

from itertools import islice

from tapedeck.connectors.tapes.tape import bar_body
from tapedeck.schemas.codec import decode
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.wire import record_wire, watermark_wires
from tapedeck.topics.catalogue import Layout
from tests.bench import year_tape
from tests.bench.year_tape import FEED, ORIGIN, SYMBOLS


def test_a_session_of_the_year_is_byte_for_byte_what_the_player_writes() -> None:
    layout, symbols, partition = Layout(), [3, 7, 20], 2
    session = next(iter(year_tape._sessions(1)))
    messages = iter(year_tape._block(session, partition, symbols).messages())
    for at, label in enumerate(session.minutes.tolist()[:50]):
        for symbol, message in zip(symbols, islice(messages, len(symbols)), strict=True):
            *ohlc, volume = session.prices[symbol, at].tolist()
            body = bar_body(SYMBOLS[symbol], label, ohlc, volume, feed=FEED, origin=ORIGIN)
            wire = record_wire("bars", body["symbol"].encode(), body, layout, [])
            assert (message.key, message.value, message.timestamp) == (wire.key, wire.value, wire.timestamp)
            assert message.headers == ()
        mark, wire = next(messages), next(watermark_wires("bars", label, (partition,)))
        assert (mark.key, mark.value, mark.timestamp) == (wire.key, None, wire.timestamp)
        assert list(mark.headers) == wire.headers


def test_bars_of_a_session_are_sound_and_the_next_session_goes_on_from_them() -> None:
    first, second = year_tape._sessions(2)
    for session in (first, second):
        start, high, low, close, volume = session.prices.transpose(2, 0, 1)
        assert (
            (low <= start).all() and (start <= high).all() and (low <= close).all() and (close <= high).all()
        )
        assert (volume >= 0).all()
        assert (session.minutes[1:] - session.minutes[:-1] == MINUTE_US).all()
    assert abs(second.prices[:, 0, 0] / first.prices[:, -1, 3] - 1).max() < 1e-3


def test_a_partition_without_symbols_holds_the_watermarks_alone() -> None:
    session = next(iter(year_tape._sessions(1)))
    messages = list(year_tape._block(session, 0, []).messages())
    assert len(messages) == len(session.minutes)
    assert {message.value for message in messages} == {None}
    assert decode("bars", next(year_tape._block(session, 0, [1]).messages()).value)["symbol"] == SYMBOLS[1]
