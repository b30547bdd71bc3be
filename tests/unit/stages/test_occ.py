"""OCC symbols: vectors O1 to O19, and the round trip."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.sessions import day_number
from tapedeck.streams.stages.account.rules.occ import Occ, OccError, OccFault, Right, build, parse

D = Decimal


def occ(root: str, day: str, right: str, strike: str) -> Occ:
    rights = {"C": Right.CALL, "P": Right.PUT}
    return Occ(root, day_number(date.fromisoformat(day)), rights.get(right, right), D(strike))  # type: ignore[arg-type]


BUILT = {
    "O1": (("AAPL", "2026-02-20", "C", "150"), "AAPL260220C00150000"),
    "O2": (("F", "2026-12-18", "P", "12.5"), "F261218P00012500"),
    "O3": (("GOOGL", "2027-01-15", "C", "187.125"), "GOOGL270115C00187125"),
    "O4": (("BRKB", "2026-06-19", "C", "500"), "BRKB260619C00500000"),
    "O5": (("AAPL1", "2026-02-20", "C", "150"), "AAPL1260220C00150000"),
    "O6": (("SPY", "2026-01-30", "P", "0.5"), "SPY260130P00000500"),
}
NOT_BUILT = {
    "O7": (("AAPL", "2026-02-20", "C", "150.0005"), OccFault.STRIKE),
    "O8": (("AAPL", "2026-02-20", "X", "150"), OccFault.RIGHT),
    "O9": (("aapl", "2026-02-20", "C", "150"), OccFault.ROOT),
    "zero strike": (("AAPL", "2026-02-20", "C", "0"), OccFault.STRIKE),
    "strike beyond eight digits": (("AAPL", "2026-02-20", "C", "100000"), OccFault.STRIKE),
    "year beyond two digits": (("AAPL", "2126-02-20", "C", "150"), OccFault.DATE),
}
PARSED = {
    "O10": ("AAPL260220C00150000", ("AAPL", "2026-02-20", "C", "150"), False),
    "O11": ("AAPL  260220C00150000", ("AAPL", "2026-02-20", "C", "150"), False),
    "O12": ("F261218P00012500", ("F", "2026-12-18", "P", "12.5"), False),
    "O13": ("AAPL1260220C00150000", ("AAPL1", "2026-02-20", "C", "150"), True),
}
NOT_PARSED = {
    "O14": ("AAPL260231C00150000", OccFault.DATE),
    "O15": ("AAPL260220X00150000", OccFault.RIGHT),
    "O16": ("AAPL260220C00000000", OccFault.STRIKE),
    "O17": ("AAPL260220C0015000", OccFault.DATE),
    "O18": ("260220C00150000", OccFault.LENGTH),
    "O19": ("AAPL260220c00150000", OccFault.RIGHT),
    "lower case root": ("aapl260220C00150000", OccFault.ROOT),
    "too long": ("AAPL   260220C00150000", OccFault.LENGTH),
    "padding inside a short symbol": ("AA 260220C00150000", OccFault.ROOT),
    "letters in the strike": ("AAPL260220C0015000X", OccFault.STRIKE),
}


@pytest.mark.parametrize(("parts", "symbol"), BUILT.values(), ids=BUILT)
def test_a_listed_option_is_written_unpadded(parts: tuple[str, ...], symbol: str) -> None:
    assert build(occ(*parts)) == symbol


@pytest.mark.parametrize(("parts", "fault"), NOT_BUILT.values(), ids=NOT_BUILT)
def test_an_impossible_option_is_not_written(parts: tuple[str, ...], fault: OccFault) -> None:
    with pytest.raises(OccError) as error:
        build(occ(*parts))
    assert error.value.fault is fault


@pytest.mark.parametrize(("symbol", "parts", "adjusted"), PARSED.values(), ids=PARSED)
def test_a_symbol_is_read(symbol: str, parts: tuple[str, ...], adjusted: bool) -> None:
    assert parse(symbol) == occ(*parts)
    assert parse(symbol).adjusted is adjusted


@pytest.mark.parametrize(("symbol", "fault"), NOT_PARSED.values(), ids=NOT_PARSED)
def test_a_bad_symbol_is_refused_by_its_first_fault(symbol: str, fault: OccFault) -> None:
    with pytest.raises(OccError) as error:
        parse(symbol)
    assert error.value.fault is fault
    assert error.value.reason == fault.value


OCC = st.builds(
    Occ,
    st.from_regex(r"[A-Z][A-Z0-9]{0,5}", fullmatch=True),
    st.integers(day_number(date(2000, 1, 1)), day_number(date(2099, 12, 31))),
    st.sampled_from(Right),
    st.integers(1, 99_999_999).map(lambda thousandths: D(thousandths) / 1000),
)


@given(OCC)
def test_reading_what_was_written_gives_the_option_back(option: Occ) -> None:
    symbol = build(option)
    assert parse(symbol) == option
    assert parse(f"{option.root:<6}{symbol[-15:]}") == option
    assert build(parse(symbol)) == symbol


@given(st.text(max_size=24))
def test_any_text_is_an_option_or_an_occ_error(text: str) -> None:
    try:
        option = parse(text)
    except OccError:
        return
    assert text.replace(" ", "") == build(option)
