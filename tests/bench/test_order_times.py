"""An order's way from its signal to the exchange, from records and the exchange's calls."""

import math

import pytest

from tapedeck.schemas.codec import encode, load_schema
from tapedeck.schemas.golden import samples_of
from tests.bench.order_times import ways
from tests.bench.watching import Seen

ID, SIGNAL, MINUTE = "td1-o00-a", "sg_1", 60_000_000


def seen(name: str, written: float, **fields: object) -> Seen:
    body = samples_of(load_schema(name))[0] | fields
    return Seen(name, math.nan, written, encode(name, body))


def inbox(written: float, account: str, kind: str = "InboxSignal", **fields: object) -> Seen:
    samples = samples_of(load_schema("account_inbox"))
    payload = next(each["payload"] for each in samples if each["payload"][0].endswith(kind))
    return seen("account_inbox", written, account_id=account, payload=(payload[0], {**payload[1], **fields}))


def proposal(account: str = "large", order: str | None = ID) -> Seen:
    return seen("proposals", 10.03, account_id=account, signal_id=SIGNAL, bar_t=MINUTE, client_order_id=order)


def call(**fields: object) -> dict[str, object]:
    return {
        "operation": "submit", "subject": ID, "outcome": 200, "came": 10_045_000, "done": 10_047_000,
    } | fields  # fmt: skip


RECORDS = [
    seen("signals", 10.0, signal_id=SIGNAL),
    inbox(10.01, "large", signal_id=SIGNAL),
    proposal(),
    seen("orders", 10.035, client_order_id=ID, state="INTENT"),
    seen("orders", 10.06, client_order_id=ID, state="SUBMITTED"),
]


def test_the_parts_of_an_orders_way_come_to_the_whole() -> None:
    (way,) = ways(RECORDS, [call()])
    parts = (way.collecting, way.deciding, way.sending, way.exchange)
    assert parts == pytest.approx((10, 25, 10, 2))
    assert way.whole == pytest.approx(47) and way.after_collection == pytest.approx(37)
    assert way.bar_t == MINUTE and way.accepted_at == pytest.approx(10.047)


@pytest.mark.parametrize(
    "other", [{"operation": "cancel"}, {"outcome": 403}, {"subject": "td1-o01-a"}, {"subject": "by hand"}]
)
def test_what_is_no_accepted_first_order_of_a_signal_has_no_way(other: dict[str, object]) -> None:
    assert ways(RECORDS, [call(**other)]) == []


def test_an_order_counts_once_and_its_first_times_count() -> None:
    again = [seen("orders", 11.0, client_order_id=ID, state="INTENT"), inbox(11.0, "large", signal_id=SIGNAL)]
    calls = [call(came=12_000_000, done=12_000_000), call()]
    assert ways([*RECORDS, *again], calls) == ways(RECORDS, [call()])


def test_each_account_has_its_own_way_from_one_signal() -> None:
    other = "td1-o00-b"
    records = [
        *RECORDS, inbox(10.02, "tiny", signal_id=SIGNAL), proposal("tiny", other),
        seen("orders", 10.05, client_order_id=other, state="INTENT"),
    ]  # fmt: skip
    found = ways(records, [call(), call(subject=other, came=10_060_000, done=10_061_000)])
    assert [round(way.collecting) for way in found] == [10, 20]


def test_a_refused_signal_has_none() -> None:
    assert ways([*RECORDS[:2], proposal(order=None)], [call()]) == []
