"""Which changed parameter a difference comes from."""

from collections.abc import Callable, Iterable

Outcomes = Callable[[frozenset[str]], object]
"""The outcome with only these parameters changed, and everything else, including state, as recorded."""


def causes_of(units: Iterable[str], now: object, outcome: Outcomes) -> tuple[str, ...]:
    """The parameters that give ``now`` in the recorded context: each alone, else the smallest set together.

    Parameters that are needed together form one name, joined by " + ". Empty if the recorded context with
    all of them changed gives something else: then ``now`` needs an earlier difference.
    """
    whole = tuple(units)
    if outcome(frozenset(whole)) != now or outcome(frozenset()) == now:
        return ()
    alone = tuple(each for each in whole if outcome(frozenset((each,))) == now)
    if alone:
        return alone
    return (" + ".join(needed_of(whole, now, outcome)),)


def needed_of(units: Iterable[str], now: object, outcome: Outcomes) -> tuple[str, ...]:
    """The fewest parameters that still give ``now``, if all of them do; else none."""
    whole = tuple(units)
    left = frozenset(whole)
    if outcome(left) != now:
        return ()
    for each in whole:
        if outcome(left - {each}) == now:
            left -= {each}
    return tuple(each for each in whole if each in left)
