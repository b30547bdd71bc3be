"""Digests of outputs and of state."""

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.schemas.codec import PREFIX
from tapedeck.streams.digests import OutputDigest, of_messages, of_state
from tapedeck.streams.frame import pack
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import WATERMARK_KEY
from tests.support.shells import T0, bar, mark_message, message

ROWS = st.lists(
    st.tuples(st.binary(max_size=4), st.text("0123abcd", min_size=1, max_size=4), st.binary(max_size=6)),
    unique_by=lambda row: row[1],
    max_size=20,
)  # fmt: skip
Row = tuple[bytes, str, bytes]


def digest_of(rows: list[Row]) -> OutputDigest:
    digest = OutputDigest()
    for row in rows:
        digest.add(*row)
    return digest


@given(ROWS, st.randoms(use_true_random=False))
def test_order_and_repeats_do_not_matter(rows: list[Row], rng) -> None:  # type: ignore[no-untyped-def]
    again = rows + rng.sample(rows, k=len(rows) // 2)
    rng.shuffle(again)
    found = digest_of(again)
    assert found.hexdigest() == digest_of(rows).hexdigest()
    assert len(found) == len(rows)
    assert found.conflicts == []


@given(ROWS.filter(bool), st.data())
def test_every_row_and_every_part_of_it_matters(rows: list[Row], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    key, identity, body = rows[at]
    whole = digest_of(rows).hexdigest()
    others = rows[:at] + rows[at + 1 :]
    assert digest_of(others).hexdigest() != whole
    for changed in ((key + b"!", identity, body), (key, identity + "!", body), (key, identity, body + b"!")):
        assert digest_of([*others, changed]).hexdigest() != whole


@given(st.binary(max_size=3), st.binary(max_size=3), st.binary(max_size=3))
def test_bytes_do_not_slip_from_one_row_into_the_next(one: bytes, two: bytes, three: bytes) -> None:
    ours = digest_of([(b"k", "a", one + two), (b"k", "b", three)])
    theirs = digest_of([(b"k", "a", one), (b"k", "b", two + three)])
    assert (ours.hexdigest() == theirs.hexdigest()) == (two == b"" or one + two == one)


def test_one_id_with_two_bodies_is_a_conflict_and_the_first_counts() -> None:
    digest = digest_of([(b"k", "a", b"1"), (b"k", "a", b"2"), (b"k", "a", b"1")])
    assert digest.conflicts == ["a"]
    assert digest.hexdigest() == digest_of([(b"k", "a", b"1")]).hexdigest()


def test_messages_are_digested_by_body_and_watermarks_are_not() -> None:
    one, two = message(bar("A"), 0), message(bar("B"), 1)
    plain = of_messages("bars", [one, two])
    elsewhere = two._replace(offset=77, partition=3, timestamp=5, headers=(("x", b"y"),))
    again = of_messages("bars", [mark_message(T0, 9), elsewhere, one, one])
    assert again.hexdigest() == plain.hexdigest()
    assert len(plain) == 2


def test_the_schema_id_on_the_wire_is_no_part_of_the_digest() -> None:
    one = message(bar("A"), 0)
    assert one.value is not None
    direct = OutputDigest()
    direct.add(b"A", bar("A")["event_id"], one.value[PREFIX.size :])
    assert direct.hexdigest() == of_messages("bars", [one]).hexdigest()


def test_another_value_is_another_digest() -> None:
    def digest(item: Message) -> str:
        return of_messages("bars", [item]).hexdigest()

    assert digest(message(bar("A"), 0)) != digest(message(bar("A", volume=101), 0))


def test_state_is_digested_without_cursors_epoch_and_watermark() -> None:
    ours = {b"A": pack(0, {(0, 0): 5}, b"one"), b"B": pack(0, {}, b"two")}
    theirs = {
        b"B": pack(3, {(0, 1): 9}, b"two"),
        b"A": pack(1, {(0, 0): 99, (1, 0): 2}, b"one"),
        WATERMARK_KEY: pack(0, {(0, 0): T0}, b"members"),
    }
    assert of_state(ours) == of_state(theirs)
    assert of_state(ours) != of_state(ours | {b"B": pack(0, {}, b"2wo")})
    assert of_state(ours) != of_state({b"A": ours[b"A"]})
