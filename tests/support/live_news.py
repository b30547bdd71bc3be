"""`tape ingest news` beside a data server whose time runs by itself, and what must hold after."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tapedeck.connectors.alpaca.news import NewsHistory
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.news.alpaca import read_page
from tapedeck.connectors.paper.data.articles import Article
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.schemas.codec import decode
from tests.support.data_server import Served, article
from tests.support.paper import LARGE_KEYS, MINUTE, SECOND

_EVERY_S = (5, 40)
_CORRECTED = 0.2
_CORRECTED_S = (20, 600)


def articles_of(tape: Tape, seed: int) -> Iterator[Article]:
    """An article every few seconds of the session; one in five is corrected, seconds to minutes later.

    The last comes three minutes after the last bar.
    """
    rng = random.Random(seed)
    at, last, number = tape.first_live, tape.minutes[-1].label, 0
    while (at := at + rng.randint(*_EVERY_S) * SECOND) < last:
        number += 1
        symbols = tuple(rng.sample(tape.symbols, rng.randint(0, 2)))
        yield article(number, at, *symbols)
        later = at + rng.randint(*_CORRECTED_S) * SECOND
        if rng.random() < _CORRECTED and later < last:
            words = f"headline {number} (updated)"
            yield article(number, at, *symbols, updated_at=later, headline=words)
    yield article(number + 1, last + 3 * MINUTE)


def newest_versions(served: Served, tape: Tape) -> dict[str, int]:
    """What REST has now: the time of the newest version of each article, UTC micros."""
    history = NewsHistory(served.url, LARGE_KEYS, clock=served.clock)
    pages = history.pages(tape.first_live - MINUTE)
    found = [item for page in pages for item in read_page(page, served.clock.now()).items]
    return {item.native_id: item.updated_at for item in found}


def versions(cluster: Cluster) -> list[tuple[str, int]]:
    """The versions in the topic, in the order of its log."""
    told: list[dict[str, Any]] = [
        decode("news", each.value) for each in read_topic(cluster, "news") if each.value is not None
    ]
    return [(body["native_id"], body["updated_at"]) for body in told]


@dataclass
class NewsOutcome:
    """``overtaken``: versions that were corrected before the stream or REST had shown them."""

    articles: int
    versions: int
    overtaken: int


def check_articles(cluster: Cluster, served: Served, tape: Tape) -> NewsOutcome:
    """Every article is there in its newest version, no version twice, and none that was not published.

    REST has the newest version alone: one that was corrected while the stream was cut cannot be had.
    """
    newest, found = newest_versions(served, tape), versions(cluster)
    published = {
        (str(each.id), each.updated_at) for each in served.service.data.archive.due(0, served.clock.now())
    }
    assert newest and len(found) == len({*found}), "a version is there twice"
    assert {*found} <= published, sorted({*found} - published)[:5]
    missing = {*newest.items()} - {*found}
    assert not missing, sorted(missing)[:5]
    return NewsOutcome(articles=len(newest), versions=len(found), overtaken=len(published) - len(found))
