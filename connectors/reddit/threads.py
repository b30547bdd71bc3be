"""What is asked of Reddit's API: listings, a thread with its collapsed comments, and rows by name."""

import heapq
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any

from tapedeck.connectors.reddit.pace import BudgetSpent, Calls
from tapedeck.connectors.reddit.states import RedditState, Refused

PER_REQUEST = 100
"""Rows that one request can name."""
_COMMENTS_PER_PAGE = 500
_NAME = re.compile(r"t[13]_[0-9a-z]{1,16}")
_COMMENT = re.compile(r"t1_([0-9a-z]{1,16})")
_COMMENT_ID = re.compile(r"[0-9a-z]{1,16}")
_LARGEST = 1_000_000


class Cap(StrEnum):
    """What a visit leaves out, and why. The names are those of the parameters."""

    COMMENTS = "max_comments_per_thread"
    EXPANSIONS = "max_expansions"
    BUDGET = "budget_min"


@dataclass(kw_only=True)
class Visit:
    """One look at a thread: its rows, the post first, each once, and what was left out.

    ``failure``: why it ends early; what came before is kept.
    """

    rows: list[object] = field(default_factory=list)
    cut: Counter[Cap] = field(default_factory=Counter)
    failure: Refused | None = None


def listing(calls: Calls, subreddit: str, order: str, limit: int) -> list[object]:
    """The first ``limit`` rows of hot or top; top is that of the day."""
    params: dict[str, str | int] = {"limit": limit} | ({"t": "day"} if order == "top" else {})
    return _children(calls.get(f"r/{subreddit}/{order}", params))[:limit]


def by_name(calls: Calls, names: Sequence[str]) -> dict[str, object]:
    """Rows by their native ids, 100 at most; one that Reddit no longer shows is missing."""
    rows = _children(calls.get("api/info", {"id": ",".join(names)}))
    found = {name: row for row in rows if (name := name_of(row)) in names}
    if not found and len(names) > 1:
        raise _no_data("none of the rows that were asked for")
    return found


def name_of(row: object) -> str:
    """The native id of a row; empty if it has none."""
    if not isinstance(row, dict) or not isinstance(row.get("data"), dict):
        return ""
    name = f"{row.get('kind')}_{row['data'].get('id')}"
    return name if _NAME.fullmatch(name) else ""


def title_of(row: object) -> str:
    """The title of a row; empty if it has none."""
    title = row["data"].get("title") if isinstance(row, dict) and isinstance(row.get("data"), dict) else None
    return title if isinstance(title, str) else ""


def visit(calls: Calls, thread_id: str, *, most_comments: int, most_expansions: int) -> Visit:
    """A thread with its comments, the largest collapsed branches first. Raises Refused, BudgetSpent if it
    could not be read at all.
    """
    bare = thread_id.removeprefix("t3_")
    page = calls.get(f"comments/{bare}", {"limit": _COMMENTS_PER_PAGE, "sort": "new"})
    if not isinstance(page, list) or len(page) != 2:
        raise _no_data("a thread without its two lists")
    seen = Visit()
    posts = _children(page[0])
    seen.rows.extend(posts[:1])
    walk = _Walk(seen, most_comments)
    walk.take(_children(page[1]))
    try:
        for _ in range(most_expansions):
            if not walk.collapsed or walk.is_full:
                break
            walk.take(_expanded(calls, bare, walk))
    except BudgetSpent:
        seen.cut[Cap.BUDGET] += walk.left
        return seen
    except Refused as refused:
        seen.failure = refused
        return seen
    if walk.left:
        seen.cut[Cap.COMMENTS if walk.is_full else Cap.EXPANSIONS] += walk.left
    return seen


class _Walk:
    """The comments of a thread as they come: each once, and at most as many as may be kept."""

    def __init__(self, seen: Visit, most: int) -> None:
        self._seen, self._most = seen, most
        self._names: set[str] = set()
        self._order = count()
        self._comments = 0
        self.collapsed: list[tuple[int, int, str, tuple[str, ...]]] = []
        """A heap of branches: minus the comments in it, a number, its parent, their ids."""

    @property
    def is_full(self) -> bool:
        return self._comments >= self._most

    @property
    def left(self) -> int:
        """Comments in branches that are still collapsed, at least one each."""
        return sum(max(1, -size) for size, *_ in self.collapsed)

    def take(self, rows: Iterable[object]) -> None:
        """Keep the rows and all replies under them."""
        queue = deque(rows)
        while queue:
            row = queue.popleft()
            if not isinstance(row, dict) or not isinstance(row.get("data"), dict):
                self._keep(row)
                continue
            data = row["data"]
            if row.get("kind") == "more":
                self._collapse(data)
                continue
            replies = data.get("replies")
            if isinstance(replies, dict):
                queue.extend(_children_or_none(replies) or ())
            name = name_of(row)
            if not name or name not in self._names:
                self._names.add(name)
                self._keep({**row, "data": {k: v for k, v in data.items() if k != "replies"}})

    def _keep(self, row: object) -> None:
        if self.is_full:
            self._seen.cut[Cap.COMMENTS] += 1
            return
        self._comments += 1
        self._seen.rows.append(row)

    def _collapse(self, more: dict[str, Any]) -> None:
        children = more.get("children")
        ids = tuple(
            each
            for each in (children if isinstance(children, list) else ())
            if isinstance(each, str) and _COMMENT_ID.fullmatch(each) and f"t1_{each}" not in self._names
        )
        parent = more.get("parent_id")
        known = isinstance(parent, str) and _COMMENT.fullmatch(parent)
        if ids or known:
            self.push(_size(more.get("count"), ids), str(parent), ids)

    def push(self, size: int, parent: str, ids: tuple[str, ...]) -> None:
        heapq.heappush(self.collapsed, (-size, next(self._order), parent, ids))


def _expanded(calls: Calls, bare: str, walk: _Walk) -> list[object]:
    """The rows of the largest collapsed branch; of one without ids, the page of its parent.

    The branch stays collapsed if Reddit does not give it.
    """
    size, _, parent, ids = walk.collapsed[0]
    if not ids:
        page = calls.get(f"comments/{bare}/_/{parent[3:]}", {"limit": _COMMENTS_PER_PAGE, "sort": "new"})
        if not isinstance(page, list) or len(page) != 2:
            raise _no_data("a thread without its two lists")
        heapq.heappop(walk.collapsed)
        return _children(page[1])
    now, later = ids[:PER_REQUEST], ids[PER_REQUEST:]
    params = {"api_type": "json", "link_id": f"t3_{bare}", "children": ",".join(now), "sort": "new"}
    rows = _things(calls.get("api/morechildren", params))
    heapq.heappop(walk.collapsed)
    if later:
        walk.push(max(len(later), -size - len(now)), parent, later)
    return rows


def batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """The names in groups that one request can ask for."""
    return (names[at : at + PER_REQUEST] for at in range(0, len(names), PER_REQUEST))


def _size(given: object, ids: Sequence[str]) -> int:
    counted = given if isinstance(given, int) and not isinstance(given, bool) else 0
    return max(len(ids), min(max(counted, 0), _LARGEST))


def _children(page: object) -> list[object]:
    found = _children_or_none(page)
    if found is None:
        raise _no_data("a page that is no listing")
    return found


def _children_or_none(page: object) -> list[object] | None:
    data = page.get("data") if isinstance(page, dict) else None
    children = data.get("children") if isinstance(data, dict) else None
    return children if isinstance(children, list) else None


def _things(page: object) -> list[object]:
    inner = page.get("json") if isinstance(page, dict) else None
    data = inner.get("data") if isinstance(inner, dict) else None
    things = data.get("things") if isinstance(data, dict) else None
    if not isinstance(things, list):
        raise _no_data("no comments for a collapsed branch")
    return things


def _no_data(what: str) -> Refused:
    return Refused(RedditState.FAILING, f"Reddit sends {what}", is_passing=True)
