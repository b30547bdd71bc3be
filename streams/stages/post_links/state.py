"""What the post_links stage remembers of posts, and as which bytes."""

from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from tapedeck.streams.config.text_groups import Reddit
from tapedeck.streams.stages.base import pack_state, unpack_state
from tapedeck.streams.stages.links.memory import Bounds, Memory
from tapedeck.streams.stages.stories.rule import HOUR_US

STATE_VERSION = 1
BUCKETS = 256
"""State keys that posts are spread over, so that a write is small and their number is bounded."""
BOUNDS = Bounds(entries=1_000, size=200_000)
LATE_H = 1
"""Hours for which a post is remembered after its thread was visited for the last time."""


class Post(NamedTuple):
    """The last version of a post or comment. Times are UTC microseconds; ``symbols`` that it counts for."""

    event_time: int
    updated_at: int
    symbols: tuple[str, ...]

    @property
    def title(self) -> None:
        """None is kept."""


def bucket_of(name: str) -> bytes:
    """The state key of post ``name``."""
    return f"{sha256(name.encode()).digest()[0] % BUCKETS:02x}".encode()


def opened(state: bytes | None, config: Reddit) -> Memory[Post]:
    """The memory in a state value."""
    fields = unpack_state(STATE_VERSION, state) if state else {}
    posts = {name: Post(time, version, tuple(symbols)) for name, (time, version, symbols) in fields.items()}
    until = (config.revisit_h + LATE_H) * HOUR_US

    def settle(post: Post, age: int) -> Post | None:
        return post if age <= until else None

    return Memory(posts, BOUNDS, settle)


def packed(posts: Mapping[str, Post]) -> bytes:
    """The state value of a memory of ``posts``."""
    return pack_state(STATE_VERSION, {name: tuple(post) for name, post in posts.items()})
