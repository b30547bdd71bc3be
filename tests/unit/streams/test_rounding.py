import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tapedeck.streams.stages.rounding import round6, round10


@settings(max_examples=600, deadline=None)
@given(
    st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e6, 1e6), st.floats(-0.01, 0.01))
)
@example(0.5e-10)
@example(1.5e-10)
@example(524287.99999999994)
@example(450360.0 + 2**-34)
@example(-1e-12)
@example(5e-324)
@example(0.0000005)
@example(0.1234565)
@example(8589934591.9999995)
@example(4503599627.3704955)
def test_rounding_in_the_kernel_is_pythons_round(x: float) -> None:
    for rounded, places in ((round10, 10), (round6, 6)):
        assert rounded(x) == round(x, places)
        assert math.copysign(1, rounded(x)) == 1 or rounded(x) != 0


@settings(max_examples=300, deadline=None)
@given(st.integers(-(2**52), 2**52), st.integers(11, 34))
def test_exact_ties_go_to_the_even_neighbour(whole: int, power: int) -> None:
    x = whole / 2**power  # binary fractions are where exact decimal ties live
    assert round10(x) == round(x, 10)
    assert round6(x) == round(x, 6)


def test_unknown_stays_unknown() -> None:
    assert math.isnan(round10(math.nan)) and math.isnan(round6(math.nan))
