"""``tape step watchlist``: the watch score of one symbol a line."""

from collections.abc import Iterable, Iterator
from typing import Any

from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.scores.rule import watch_score
from tapedeck.tape.step.common import BadLine, Line, fields_of, judged, number, whole

HELP = """Compute the watch score of one symbol a line, with its components.

A line is an object with these keys; an absent one is null:
  symbol          text, repeated in the output
  n, s, age_s     news items in 60 minutes, their signed average in [-1, 1], the newest one's age in
                  seconds; null when there is none
  distance_sma20, vol_ratio, trend_state
A null distance or trend gives no score; a null vol_ratio counts as 1.

Example:
  {"symbol": "NVDA", "n": 3, "s": 0.5, "age_s": 900, "distance_sma20": 0.004, "vol_ratio": 1.2,
   "trend_state": 1}
gives
  {"symbol": "NVDA", "watch_score": 0.678, "sentiment_pressure": 0.58, "setup_quality": 0.6,
   "vol_score": 0.625, "trend_alignment": 1.0}"""


def run(lines: Iterable[Line], config: Config) -> Iterator[dict[str, Any]]:
    """One output line per input line."""
    return judged(lines, lambda line: [_judge(line, config)], _KEYS)


_KEYS = fields_of("features") | {"n", "s", "age_s"}
"""A line may be a feature record plus the news fields."""


def _judge(line: Line, config: Config) -> dict[str, Any]:
    n, s, trend = whole(line, "n") or 0, number(line, "s") or 0.0, whole(line, "trend_state")
    if n < 0 or not -1 <= s <= 1:
        raise BadLine("n must be >= 0 and s in [-1, 1]", value={"n": n, "s": s})
    if trend not in (None, -1, 0, 1):
        raise BadLine("trend_state is not -1, 0 or 1", value=trend)
    result = watch_score(
        config.watchlist,
        n=n,
        s=s,
        age_s=number(line, "age_s"),
        distance_sma20=number(line, "distance_sma20"),
        vol_ratio=number(line, "vol_ratio"),
        trend_state=trend,
    )
    echoed = {"symbol": line["symbol"]} if "symbol" in line else {}
    return (
        echoed | {"watch_score": result.score} | {k: v for k, v in result._asdict().items() if k != "score"}
    )
