"""One version of an item, linked: what both stages that link do with a row."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import event_id
from tapedeck.streams.stages.links.assets import default_assets
from tapedeck.streams.stages.links.rule import Link, Linked, link

Body = dict[str, Any]
VERSION_FIELDS = ("event_time", "source", "native_id", "updated_at", "event_uid")
"""What an item's record hands on: which version of which item it is."""
MATCHES = 8
"""Matches of one symbol that are stored."""


def name_of(body: Body) -> str:
    """What names an item, whatever its version: source and native id."""
    return f"{body['source']}|{body['native_id']}"


def uid_of(name: str, updated_at: int) -> str:
    """The event_uid of a version of item ``name``."""
    return sha256(f"{name}|{updated_at}".encode()).hexdigest()


def fact_of(topic: str, name: str, updated_at: int) -> str:
    """The event_id of a version of item ``name`` in source ``topic``."""
    return event_id(topic, (name, updated_at))


class Linker:
    """Links the items of a configuration's universe, and of the companies whose names are known."""

    def __init__(self, config: Config) -> None:
        self._config = config.link
        self._assets = default_assets(config.universe.symbols)

    def linked(self, text: str, provider: Sequence[str] | None) -> Linked:
        """The symbols of ``text`` with the source's tags."""
        return link(text, provider=provider, assets=self._assets, config=self._config)


def counted(found: Linked) -> tuple[str, ...]:
    """The symbols that a version counts for, sorted: none of a list post."""
    return () if found.list_post else tuple(sorted(each.symbol for each in found.links))


def links_body(item: Body, scope: str, text: str, found: Linked, before: Iterable[str]) -> Body:
    """The fields of a ``links`` record besides its story. ``before``: what the last version counted for."""
    return {
        **{field: item[field] for field in VERSION_FIELDS},
        "scope": scope,
        "text": text,
        "links": [_link_body(each) for each in found.links],
        "dropped": sorted(set(before) - set(counted(found))),
        "list_post": found.list_post,
        "author_hash": item.get("author_hash"),
    }


def _link_body(found: Link) -> Body:
    return {
        "symbol": found.symbol,
        "confidence": found.confidence,
        "kinds": [str(kind) for kind in found.kinds],
        "matches": [
            match._asdict()
            | {
                "kind": str(match.kind),
                "rule": str(match.rule),
                "effects": [str(e) for e in match.effects],
            }
            for match in found.matches[:MATCHES]
        ],
    }
