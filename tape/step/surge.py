"""``tape step surge``: whether an hour's mentions are a surge, one case a line."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.surges.rule import surge
from tapedeck.tape.step.common import Line, judged
from tapedeck.tape.step.shaped import shaped

HELP = """Judge the mentions of a symbol in one hour.

A line is an object with these keys:
  k         mentions in the hour
  authors   different authors of them
  history   mentions in the same hour of the days before, one number a day, newest first, zeros included
Fewer than surge.min_days days give NO_BASELINE.

Example:
  {"k": 12, "authors": 8, "history": [1, 1, 1, 1, 1, 1, 1, 1]}
gives
  {"lambda": 1.0, "score": 9.0801, "level": "HIGH"}"""

Count = Annotated[int, Field(ge=0, le=10_000_000)]


class _Case(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    k: Count
    authors: Count
    history: list[Count]


def run(lines: Iterable[Line], config: Config) -> Iterator[dict[str, Any]]:
    """One output line per input line."""
    return judged(lines, lambda line: [_judge(line, config)])


def _judge(line: Line, config: Config) -> dict[str, Any]:
    case = shaped(_Case, line)
    found = surge(case.k, case.authors, case.history, config.surge)
    return {"lambda": found.baseline, "score": found.score, "level": found.level.value}
