"""The signals stage's kernel: feature, membership and window rows of one symbol to answers and state.

Live calls it with one row, rebuild with many; ``streams.stages.signals.fold`` passes the arrays. A row is
an index into matrices of int64 and float64 whose columns are named below. An unknown integer is ``NULL``,
an unknown float NaN, an absent code or index ``NONE``; times are microseconds, dates days.
"""

from typing import Any

import numpy as np
from numba import njit

from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.signals import rule_kernel as rule
from tapedeck.streams.stages.signals.rule_kernel import NONE, NULL

# ruff: noqa: PLR0917  (numba does not support keyword-only arguments)

COMPILED_WITH = 40253472
"""Checksum of the sources elsewhere that are compiled into ``fold``: a test computes it.

numba keys its disk cache on this file alone: a change elsewhere must touch it, or an old kernel is loaded.
"""

# columns of a feature row: integers
(
    I_T, I_REVISION, I_AS_OF, I_NOW, I_FEED, I_SESSION_DATE, I_READY, I_SPLIT, I_TREND, I_MEMBERS, I_WINDOWS,
) = range(11)  # fmt: skip
INTS = 11
"""``I_FEED``: ``SignalsState.place_of`` the feed. ``I_MEMBERS`` and ``I_WINDOWS``: how many membership rows
and how many window rows come before it."""
BROKEN = -1
"""``I_READY`` of a row that the rule cannot read: RULE_ERROR."""
# columns of a feature row: floats
F_CLOSE, F_SMA20, F_SMA50, F_DISTANCE, F_VOL_RATIO, F_VOLUME_RATIO, F_GAP, F_PREV_MOVE = range(8)
FLOATS = 8
# columns of a membership row
M_TIME, M_LISTED = range(2)
MEMBER = 2
# columns of a window row: T, items and their mean in millionths; it counts up to T + ``L_WINDOW``
W_TIME, W_N, W_AVG = range(3)
WINDOW = 3
MILLIONTHS = 1_000_000
# what a membership or window row did
JOINED, REPEATED, SUPERSEDED = range(3)

# what a feature row gave
DECIDED, AUDITED, SAME_ACTION, DUPLICATE, TOO_OLD = range(5)
# columns of its answer: NONE from O_ACTION on where the row was not judged
(
    O_GAVE, O_MEMBER, O_WINDOW, O_ACTION, O_STRATEGY, O_REASON, O_DIRECTION, O_OLD_ACTION, O_LISTED,
    O_LAST_SIGNAL, O_FADE_DATE, O_N, O_AVG,
) = range(13)  # fmt: skip
ANSWER = 13
"""``O_MEMBER``, ``O_WINDOW``: the row that holds, NONE for the one from before, NO_WINDOW if none does."""
NO_WINDOW = -2
O_CONFIDENCE, O_FACTORS = 0, 1
CONFIDENCES = 6

# the state's head
H_LAST_SIGNAL, H_FADE_DATE, H_SELECTED, H_MEMBER, H_LISTED, H_WINDOW, H_N, H_AVG = range(8)
HEAD = 8
"""From ``H_MEMBER`` on the newest membership row, from ``H_WINDOW`` on the newest window row: times first."""
# columns of a decided bar; from D_NOW on, what the decision was based on
D_T, D_REVISION, D_ACTION, D_NOW, D_LISTED, D_LAST_SIGNAL, D_FADE_DATE, D_N, D_AVG = range(9)
DECIDED_BAR = 9

# limits: decided bars kept of a feed; the calendar knows [from, to); how long a window counts
L_KEPT, L_KNOWN_FROM, L_KNOWN_TO, L_WINDOW = range(4)

_jit = njit(error_model="numpy")


@_jit
def _less(a: int, b: int) -> int:
    """a - b, held inside the range of int64 and off NULL."""
    difference = a - b
    if (a < 0) != (b < 0) and (difference < 0) != (a < 0):
        return -rule.INT_MAX if a < 0 else rule.INT_MAX
    return max(difference, -rule.INT_MAX)


@_jit
def _join(head: Any, at: int, rows: Any, k: int) -> int:
    """Put the row into the head from ``at`` on, unless one of its time or a later one is there."""
    time = rows[k, 0]
    if head[at] != NULL and time <= head[at]:
        return REPEATED if time == head[at] else SUPERSEDED
    for column in range(rows.shape[1]):
        head[at + column] = rows[k, column]
    return JOINED


@_jit
def _join_to(head: Any, at: int, rows: Any, joined: Any, seen: int, upto: int, newest: int) -> int:
    """Join the rows from ``seen`` to before ``upto``; returns the newest one joined so far."""
    for k in range(seen, upto):
        joined[k] = _join(head, at, rows, k)
        if joined[k] == JOINED:
            newest = k
    return newest


@_jit
def _is_in_force(head: Any, now: int, lasts: int) -> bool:
    """Whether the newest window holds at ``now``: later, each of its items has left the window."""
    return head[H_WINDOW] != NULL and _less(now, head[H_WINDOW]) < lasts


@_jit
def _session_at(opens: Any, closes: Any, t: int, hint: int) -> int:
    """The place of the session that contains ``t``; NONE outside. ``hint`` is tried first."""
    if hint != NONE and opens[hint] <= t < closes[hint]:
        return hint
    low, high = 0, len(opens)
    while low < high:
        middle = (low + high) // 2
        if opens[middle] <= t:
            low = middle + 1
        else:
            high = middle
    return low - 1 if low > 0 and t < closes[low - 1] else NONE


@_jit
def _judge(
    pi: Any,
    pf: Any,
    bars: Any,
    values: Any,
    row: int,
    selected: bool,
    inside: bool,
    opened: int,
    date: int,
    context: Any,
) -> rule.Codes:
    """The rule on one row of the session ``date`` that opened at ``opened``, judged on ``context``."""
    unknown = (
        np.isnan(values[row, F_CLOSE]) or np.isnan(values[row, F_SMA20]) or np.isnan(values[row, F_SMA50])
    )
    last = context[D_LAST_SIGNAL]
    return rule.decide_bar(
        pi,
        pf,
        0,
        selected,
        inside,
        context[D_LISTED] == 1,
        bars[row, I_READY] == 1,
        bars[row, I_SPLIT] == 1,
        not unknown,
        values[row, F_DISTANCE],
        bars[row, I_TREND],
        values[row, F_VOL_RATIO],
        values[row, F_VOLUME_RATIO],
        _less(context[D_NOW], bars[row, I_AS_OF]),
        NULL if last == NULL else _less(bars[row, I_T], last),
        context[D_N],
        context[D_AVG] / MILLIONTHS,
        _less(bars[row, I_AS_OF], opened) / MINUTE_US if inside else np.nan,
        values[row, F_GAP],
        values[row, F_PREV_MOVE],
        inside and context[D_FADE_DATE] == date,
    )


@_jit
def _place_of(rings: Any, feed: int, count: int, t: int) -> int:
    """Where ``t`` is, or belongs, among the decided bars."""
    place = count
    while place > 0 and rings[feed, place - 1, D_T] >= t:
        place -= 1
    return place


@_jit
def _remember(rings: Any, feed: int, count: int, kept: int, place: int, bar: Any) -> int:
    """Insert ``bar`` at ``place`` and drop the oldest beyond ``kept``; returns the new count."""
    for k in range(count, place, -1):
        for column in range(DECIDED_BAR):
            rings[feed, k, column] = rings[feed, k - 1, column]
    for column in range(DECIDED_BAR):
        rings[feed, place, column] = bar[column]
    over = max(0, count + 1 - kept)
    if over:
        for k in range(over, count + 1):
            for column in range(DECIDED_BAR):
                rings[feed, k - over, column] = rings[feed, k, column]
    return count + 1 - over


@_jit
def _reopen(
    head: Any, rings: Any, count: int, kept: int, bars: Any, row: int, has_window: bool, context: Any
) -> int:
    """Fill ``context`` with what the row's bar is judged on, and say which answer it is on its way to."""
    feed = bars[row, I_FEED]
    place = _place_of(rings, feed, count, bars[row, I_T])
    if place < count and rings[feed, place, D_T] == bars[row, I_T]:
        if bars[row, I_REVISION] <= rings[feed, place, D_REVISION]:
            return DUPLICATE
        rings[feed, place, D_REVISION] = bars[row, I_REVISION]
        for column in range(DECIDED_BAR):
            context[column] = rings[feed, place, column]
        return AUDITED
    if count >= kept and place == 0:
        return TOO_OLD
    context[D_T] = bars[row, I_T]
    context[D_REVISION] = bars[row, I_REVISION]
    context[D_NOW] = bars[row, I_NOW]
    context[D_LISTED] = head[H_LISTED]
    context[D_LAST_SIGNAL] = head[H_LAST_SIGNAL]
    context[D_FADE_DATE] = head[H_FADE_DATE]
    context[D_N] = head[H_N] if has_window else 0
    context[D_AVG] = head[H_AVG] if has_window else 0
    return DECIDED


@_jit
def _put(answers: Any, confidences: Any, row: int, context: Any, made: Any) -> None:
    answers[row, O_ACTION] = made[0]
    answers[row, O_STRATEGY] = made[1]
    answers[row, O_REASON] = made[2]
    answers[row, O_DIRECTION] = made[3]
    answers[row, O_LISTED] = context[D_LISTED]
    answers[row, O_LAST_SIGNAL] = context[D_LAST_SIGNAL]
    answers[row, O_FADE_DATE] = context[D_FADE_DATE]
    answers[row, O_N] = context[D_N]
    answers[row, O_AVG] = context[D_AVG]
    answers[row, O_OLD_ACTION] = NONE
    numbers = made[4:]
    for k in range(CONFIDENCES):
        confidences[row, k] = numbers[k]


@_jit
def _put_nothing(answers: Any, confidences: Any, row: int) -> None:
    for column in range(O_ACTION, ANSWER):
        answers[row, column] = NONE
    for k in range(CONFIDENCES):
        confidences[row, k] = np.nan


@njit(cache=True, error_model="numpy")
def fold(
    pi: Any,
    pf: Any,
    limits: Any,
    dates: Any,
    opens: Any,
    closes: Any,
    head: Any,
    counts: Any,
    rings: Any,
    bars: Any,
    values: Any,
    members: Any,
    windows: Any,
    joined: Any,
    windowed: Any,
    answers: Any,
    confidences: Any,
) -> None:
    """Fold feature, membership and window rows in log order: ``SignalsFold.fold``."""
    seen, member, known, window, session = 0, NONE, 0, NONE, NONE
    context = np.empty(DECIDED_BAR, dtype=np.int64)
    for row in range(len(bars)):
        upto, known_to = max(seen, bars[row, I_MEMBERS]), max(known, bars[row, I_WINDOWS])
        member = _join_to(head, H_MEMBER, members, joined, seen, upto, member)
        window = _join_to(head, H_WINDOW, windows, windowed, known, known_to, window)
        seen, known = upto, known_to
        has_window = _is_in_force(head, bars[row, I_NOW], limits[L_WINDOW])
        answers[row, O_MEMBER] = member
        answers[row, O_WINDOW] = window if has_window else NO_WINDOW
        feed, t = bars[row, I_FEED], bars[row, I_T]
        gives = _reopen(head, rings, counts[feed], limits[L_KEPT], bars, row, has_window, context)
        answers[row, O_GAVE] = gives
        if gives in (DUPLICATE, TOO_OLD):
            _put_nothing(answers, confidences, row)
            continue
        session = _session_at(opens, closes, t, session)
        inside = session != NONE
        if bars[row, I_READY] == BROKEN or not (inside or limits[L_KNOWN_FROM] <= t < limits[L_KNOWN_TO]):
            made = rule.hold(rule.R_RULE_ERROR, NONE)
        else:
            opened, date = (opens[session], int(dates[session])) if inside else (NULL, NULL)
            selected = feed == head[H_SELECTED]
            made = _judge(pi, pf, bars, values, row, selected, inside, opened, date, context)
        _put(answers, confidences, row, context, made)
        if gives == AUDITED:
            answers[row, O_OLD_ACTION] = context[D_ACTION]
            if made[0] == context[D_ACTION]:
                answers[row, O_GAVE] = SAME_ACTION
            continue
        context[D_ACTION] = made[0]
        place = _place_of(rings, feed, counts[feed], t)
        counts[feed] = _remember(rings, feed, counts[feed], limits[L_KEPT], place, context)
        if made[0] != rule.A_HOLD:
            if made[1] == rule.S_GAP_FADE:
                head[H_FADE_DATE] = bars[row, I_SESSION_DATE]
            head[H_LAST_SIGNAL] = max(0, head[H_LAST_SIGNAL], t)
    _join_to(head, H_MEMBER, members, joined, seen, len(members), member)
    _join_to(head, H_WINDOW, windows, windowed, known, len(windows), window)
