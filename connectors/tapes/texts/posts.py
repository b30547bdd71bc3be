"""Synthetic posts and comments, as Reddit would have sent them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tapedeck.connectors.reddit.posts import Authors, Post, post_of
from tapedeck.connectors.tapes.texts import templates
from tapedeck.connectors.tapes.texts.drafts import Day, Draft, drafts
from tapedeck.connectors.tapes.texts.templates import POSTS, SUBREDDITS, Tone
from tapedeck.streams.protocol import MINUTE_US, SECOND_US

_ORDINARY = 150
_BURST, _BURST_MINUTES = 34, 45
_PEOPLE = 70
_COMMENTS = 0.55
"""Share of comments among the ordinary ones."""
_SEEN_AGAIN = 6
_LATER_US = 25 * MINUTE_US


class Posted(NamedTuple):
    """One version of a post: what it is about, None for nothing, and the tone that was meant."""

    symbol: str | None
    tone: Tone
    post: Post


class _Board:
    """Numbers the day's posts; ``rng`` decides who writes where."""

    def __init__(self, rng: np.random.Generator, day: Day) -> None:
        self._rng, self._day, self._number = rng, day, 0
        self._authors = Authors(f"no secret, for all is invented: {day.origin}")
        self._threads: dict[str, str] = {}

    def post(self, text: str, at: int, *, author: int | None = None) -> Post:
        """A post or a comment created ``at``."""
        self._number += 1
        subreddit = str(self._rng.choice(SUBREDDITS))
        name = f"{self._day.session.date}n{self._number:03d}"
        thread = self._threads.get(subreddit)
        data: dict[str, Any] = {
            "id": name,
            "subreddit": subreddit,
            "created_utc": at // SECOND_US,
            "author": f"person{self._rng.integers(_PEOPLE) if author is None else author}",
            "score": int(self._rng.integers(1, 400)),
            "permalink": f"/r/{subreddit}/comments/{name}/",
        }
        is_comment = bool(self._rng.random() < _COMMENTS)
        if thread is not None and is_comment:
            row = {"kind": "t1", "data": data | {"body": text, "link_id": thread}}
        else:
            self._threads[subreddit] = f"t3_{name}"
            comments = int(self._rng.integers(0, 90))
            row = {"kind": "t3", "data": data | {"title": text, "selftext": "", "num_comments": comments}}
        return replace(post_of(row, at, self._authors), updated_at=at)

    def about(self, draft: Draft, *, author: int | None = None) -> Posted:
        """What somebody says of a symbol."""
        text = str(self._rng.choice(POSTS[draft.tone])).format(s=draft.symbol)
        return Posted(draft.symbol, draft.tone, self.post(text, draft.at, author=author))


def posts(rng: np.random.Generator, day: Day) -> Iterator[Posted]:
    """About 200 versions over the day, in no order."""
    board = _Board(rng, day)
    ordinary = sorted(drafts(rng, day, _ORDINARY), key=lambda draft: (draft.at, draft.symbol))
    said = [board.about(draft) for draft in ordinary]
    yield from said
    yield from _burst(board, rng, day)
    for number, text in enumerate(templates.POST_TRAPS):
        yield Posted(None, Tone.NEUTRAL, board.post(text, day.at(20 + 41 * number, 3)))
    listed = " ".join(f"${symbol}" for symbol in day.symbols[:12])
    yield Posted(None, Tone.NEUTRAL, board.post(templates.POSTED_LIST.format(all=listed), day.at(66, 12)))
    for each in said[:_SEEN_AGAIN]:
        yield each._replace(post=_liked(each.post))
    gone = said[_SEEN_AGAIN]
    yield gone._replace(post=replace(gone.post.without_text(), updated_at=gone.post.updated_at + _LATER_US))


def _burst(board: _Board, rng: np.random.Generator, day: Day) -> Iterator[Posted]:
    """Many people speak of one symbol within an hour."""
    symbol = day.symbols[0]
    for number in range(_BURST):
        minute = day.minutes // 2 + number * _BURST_MINUTES // _BURST
        draft = Draft(symbol, Tone.POSITIVE, day.at(minute, int(rng.integers(55))))
        yield board.about(draft, author=1_000 + number % 29)


def _liked(post: Post) -> Post:
    """The post some time later: only its votes are others."""
    return replace(post, upvotes=(post.upvotes or 0) + 120, updated_at=post.updated_at + _LATER_US)
