"""``tape step stories``: items in the order of the log, each with the story that it tells."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from tapedeck.streams.config.document import Config
from tapedeck.streams.sessions import micros
from tapedeck.streams.stages.stories.rule import Item, normalized, story_of
from tapedeck.tape.step.common import Line, judged
from tapedeck.tape.step.shaped import shaped

HELP = """Fold items into stories, in the order of the lines.

A line is an object with these keys:
  uid, title   the item, a name that no other line has
  event_time   ISO 8601 time
  symbols      the symbols that it is linked to; default: none
An item folds into an earlier one of at most ingest.fold_hours away that shares a symbol, or has none either,
where the words of the titles have a Jaccard index of ingest.fold_jaccard or more. A title of fewer than
ingest.fold_min_tokens words folds only into an equal one.

Example:
  {"uid": "a", "event_time": "2026-01-29T15:00:00Z", "title": "Nvidia beats on data center sales"}
  {"uid": "b", "event_time": "2026-01-29T15:20:00Z", "title": "NVIDIA beats on data-center sales - Wire"}
gives
  {"uid": "a", "story": "a", "folded": false}
  {"uid": "b", "story": "a", "folded": true}"""


class _Item(BaseModel):
    model_config = ConfigDict(extra="forbid")

    uid: str
    event_time: AwareDatetime
    title: str
    symbols: frozenset[str] = frozenset()


def run(lines: Iterable[Line], config: Config) -> Iterator[dict[str, Any]]:
    """One output line per input line."""
    stories: list[Item] = []
    return judged(lines, lambda line: [_judge(line, stories, config)])


def _judge(line: Line, stories: list[Item], config: Config) -> dict[str, Any]:
    read = shaped(_Item, line)
    item = Item(read.uid, micros(read.event_time), normalized(read.title), read.symbols)
    story = story_of(item, stories, config.ingest)
    if story is None:
        stories.append(item)
    return {"uid": item.uid, "story": (story or item).uid, "folded": story is not None}
