"""Which changed parameter a difference comes from."""

from collections.abc import Callable, Iterable

Outcomes = Callable[[frozenset[str]], object]
"""What comes out with only these parameters changed and everything else, state included, as recorded."""


def causes_of(units: Iterable[str], now: object, outcome: Outcomes) -> tuple[str, ...]:
    """The parameters that give ``now`` on the recorded context: each alone, else the smallest set together.

    Parameters that are needed together are one name, joined by " + ". Empty if the recorded context with
    all of them changed gives something else: then it takes an earlier difference to come to ``now``.
    """
    whole = tuple(units)
    if outcome(frozenset(whole)) != now or outcome(frozenset()) == now:
        return ()
    alone = tuple(each for each in whole if outcome(frozenset((each,))) == now)
    if alone:
        return alone
    return (" + ".join(needed_of(whole, now, outcome)),)


def needed_of(units: Iterable[str], now: object, outcome: Outcomes) -> tuple[str, ...]:
    """The fewest of the parameters that still give ``now``, where all of them do; else none."""
    whole = tuple(units)
    left = frozenset(whole)
    if outcome(left) != now:
        return ()
    for each in whole:
        if outcome(left - {each}) == now:
            left -= {each}
    return tuple(each for each in whole if each in left)
