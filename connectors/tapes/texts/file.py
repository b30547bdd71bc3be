"""News beside a market file: the articles that `tape exchange --news` publishes too, as records of a tape."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tapedeck.connectors.news.alpaca import read_page
from tapedeck.connectors.news.records import body_of
from tapedeck.connectors.paper.data.articles import Article, NewsList
from tapedeck.connectors.tapes.tape import Body, Tape, with_texts
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar


def with_news_of(tape: Tape, path: Path, calendar: Calendar) -> Tape:
    """``tape`` with the articles of its date; each version arrives when it was updated.

    What is older than the first minute arrives in it. Raises Fatal naming the line that is no article.
    """
    articles = list(NewsList.read(path))
    today = [each for each in articles if calendar.session_date(each.updated_at) == tape.session]
    until = tape.minutes[-1].label + MINUTE_US
    kept = sorted(
        (each for each in today if each.updated_at < until), key=lambda each: (each.updated_at, each.id)
    )
    texts = [(each.updated_at // MINUTE_US * MINUTE_US, "news", body) for each, body in _bodies(kept, path)]
    note = f"news: {len(texts)} of {len(articles)} articles of {path.name} are of this session"
    return replace(tape, minutes=with_texts(tape.minutes, texts), notes=(*tape.notes, note))


def _bodies(articles: Iterable[Article], path: Path) -> Iterable[tuple[Article, Body]]:
    """Each article as Alpaca would send it, read as its answers are; one without any text is left out."""
    for each in articles:
        told = {name: getattr(each, name) for name in each.__dataclass_fields__}
        told |= {name: _iso(told[name]) for name in ("created_at", "updated_at")}
        told["symbols"] = list(each.symbols)
        for item in read_page({"news": [told]}, each.updated_at).items:
            yield each, body_of(replace(item, origin=f"file/{path.name}"))


def _iso(t: int) -> str:
    return datetime.fromtimestamp(t // 10**6, UTC).replace(microsecond=t % 10**6).isoformat()
