"""News for a tape: articles by the time at which each version was published."""

import json
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tapedeck.connectors.paper.data.rows import DELAY_US
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import micros

_TIMES = ("created_at", "updated_at")


@dataclass(frozen=True, kw_only=True)
class Article:
    """One version of an article: the same ``id`` with a later ``updated_at`` is a correction.

    Times in UTC microseconds. ``content`` may hold HTML; ``symbols`` may be empty.
    """

    id: int
    created_at: int
    updated_at: int
    headline: str
    summary: str = ""
    content: str = ""
    url: str | None = None
    symbols: tuple[str, ...] = ()
    source: str = "benzinga"
    author: str = ""


class NewsTape(Protocol):
    """What a day of news is made of, in any order."""

    def __iter__(self) -> Iterator[Article]: ...


class NewsList:
    """A news tape in memory, and the forms of its file: one JSON object a line."""

    def __init__(self, articles: Iterable[Article] = ()) -> None:
        self._articles: Sequence[Article] = tuple(articles)

    def __iter__(self) -> Iterator[Article]:
        return iter(self._articles)

    @classmethod
    def read(cls, path: Path) -> "NewsList":
        """The articles of a JSON-lines file. Raises Fatal naming the line that is not one."""
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            remedy = "name a file of UTF-8 text with an article a line"
            raise Fatal(f"the news cannot be read: {error}", value=str(path), remedy=remedy) from None
        return cls(_article(path, number, line) for number, line in enumerate(lines, start=1) if line.strip())

    def write(self, path: Path) -> None:
        """The file that ``read`` reads."""
        path.write_text("".join(_line(each) for each in self._articles), encoding="utf-8")


class Archive:
    """Articles by the time of each version. An article may be seen a moment after it was updated."""

    def __init__(self, articles: Iterable[Article]) -> None:
        self._articles = sorted(articles, key=_order)

    def add(self, article: Article) -> None:
        insort(self._articles, article, key=_order)

    def due(self, after: int, until: int) -> list[Article]:
        """The versions that become visible after one moment and until another."""
        return self._articles[self._seen_at(after) : self._seen_at(until)]

    def newest(self, now: int) -> list[Article]:
        """The newest version of each article at ``now``, by the time of its update."""
        found = {each.id: each for each in self._articles[: self._seen_at(now)]}
        return sorted(found.values(), key=_order)

    def _seen_at(self, now: int) -> int:
        return bisect_right(self._articles, now - DELAY_US, key=lambda each: each.updated_at)


def _order(article: Article) -> tuple[int, int]:
    return article.updated_at, article.id


def _line(each: Article) -> str:
    told = {name: getattr(each, name) for name in each.__dataclass_fields__}
    told |= {name: datetime.fromtimestamp(told[name] // 10**6, UTC) for name in _TIMES}
    told |= {name: told[name].replace(microsecond=getattr(each, name) % 10**6).isoformat() for name in _TIMES}
    return json.dumps(told, ensure_ascii=False) + "\n"


def _article(path: Path, number: int, line: str) -> Article:
    try:
        told: dict[str, Any] = json.loads(line)
        told |= {name: _time(told[name]) for name in _TIMES}
        return Article(**told | {"id": int(told["id"]), "symbols": tuple(told.get("symbols") or ())})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Fatal(
            f"not an article: {type(error).__name__}: {error}",
            value=line[:80],
            remedy=f"an article has {', '.join(Article.__dataclass_fields__)}; times have an offset",
            place=f"{path.name}, line {number}",
        ) from None


def _time(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time without an offset: {text}")
    return micros(moment)
