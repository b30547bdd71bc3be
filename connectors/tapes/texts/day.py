"""The texts of one synthetic day as records, by the minute in which they arrive."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tapedeck.connectors.news.records import body_of as article_body
from tapedeck.connectors.reddit.posts import body_of as post_body
from tapedeck.connectors.tapes.tape import Body
from tapedeck.connectors.tapes.texts.articles import articles
from tapedeck.connectors.tapes.texts.drafts import Day
from tapedeck.connectors.tapes.texts.posts import posts
from tapedeck.connectors.tapes.texts.templates import Tone
from tapedeck.streams.protocol import MINUTE_US

_STREAM = 200
"""The random streams of texts, beside those of bars and quotes, which they must not disturb."""


class Text(NamedTuple):
    """One record. ``label``: the minute in which it arrives. ``symbol`` and ``tone`` are what was meant;
    the record itself says neither."""

    topic: str
    label: int
    symbol: str | None
    tone: Tone
    body: Body


def texts(seed: int, day: Day) -> list[Text]:
    """Articles and posts of the day in the order of their versions."""
    found = [*_articles(seed, day), *_posts(seed, day)]
    return sorted(found, key=lambda text: (text.body["updated_at"], text.topic, text.body["native_id"]))


def _articles(seed: int, day: Day) -> Iterator[Text]:
    rng = np.random.default_rng([seed, _STREAM, day.session.date, 0])
    for symbol, tone, item in articles(rng, day):
        yield Text("news", _minute(item.updated_at), symbol, tone, article_body(item))


def _posts(seed: int, day: Day) -> Iterator[Text]:
    rng = np.random.default_rng([seed, _STREAM, day.session.date, 1])
    for symbol, tone, post in posts(rng, day):
        body = post_body(post) | {"origin": day.origin}
        yield Text("posts", _minute(post.updated_at), symbol, tone, body)


def _minute(t: int) -> int:
    return t - t % MINUTE_US
