"""One run of the job: reads, judges, writes. Whatever is left out is counted."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from tapedeck.connectors.clock import Clock
from tapedeck.connectors.news.items import IngestReason
from tapedeck.connectors.reddit import threads
from tapedeck.connectors.reddit.pace import BudgetSpent, Calls, Client, Gate, Pace
from tapedeck.connectors.reddit.posts import Authors, BadRow, Post, PostKind, body_of, post_of
from tapedeck.connectors.reddit.saved import THREADS_LIMIT, Body, Known, Letter, Saved, Thread, save
from tapedeck.connectors.reddit.states import OF_ALL, RedditState, Refused
from tapedeck.connectors.reddit.threads import Cap
from tapedeck.streams.config.text_groups import Reddit
from tapedeck.streams.protocol import MINUTE_US, SECOND_US

KEYWORDS = ("daily discussion", "weekend discussion", "moves tomorrow")
"""What the title of a discussion thread contains, in any case."""
_FAILURES = 3
"""Failed looks in a row after which a run ends: Reddit is away."""
_HOUR_US = 60 * MINUTE_US
_USUAL_WAIT_S = 120.0
_LONGEST_SILENCE_S = 86_400.0
"""A longer wait is a mistake of whoever states it."""


class Sink(Protocol):
    """Where the records go. Both wait until they are acknowledged; the same ones may come again."""

    def write(self, bodies: Sequence[Body]) -> None:
        """Append to the topic ``posts``, in this order."""
        ...

    def refuse(self, letters: Sequence[Letter]) -> None:
        """Append to ``dead_letters``, one for each row."""
        ...


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one run did. ``subreddits``: the state of each, with words and remedy where it is not OK."""

    state: RedditState
    words: str
    requests: int
    counts: Mapping[IngestReason, int]
    caps: Mapping[Cap, int]
    subreddits: Mapping[str, tuple[RedditState, str]]
    next_due: int


class _Ended(Exception):
    """Nothing more can be read in this run."""


class Run:
    """One run over the saved state."""

    def __init__(
        self, config: Reddit, saved: Saved, path: Path, *, sink: Sink, authors: Authors, clock: Clock
    ) -> None:
        self._config, self._saved, self._path = config, saved, path
        self._sink, self._authors, self._clock = sink, authors, clock
        self._counts: Counter[IngestReason] = Counter()
        self._caps: Counter[Cap] = Counter()
        self._states: dict[str, tuple[RedditState, str]] = {}
        self._state, self._words = RedditState.OK, ""
        self._found: set[str] = set()
        self._seen: set[str] = set()
        self._visited: set[str] = set()
        self._failed = 0

    def read(self, connect: Callable[[Gate], Client], pace: Pace, chance: random.Random) -> None:
        """Everything, until it is read, the budget is spent or Reddit refuses."""
        calls: Calls | None = None
        try:
            calls = Calls(connect(pace), pace, chance)
            for subreddit in self._config.subreddits:
                self._look(subreddit, partial(self._lists, calls, subreddit))
            self._threads(calls)
            self._again(calls, self._top_posts())
        except BudgetSpent:
            self._cut(self._config.subreddits, Cap.BUDGET, 1)
        except _Ended:
            pass
        except Refused as refused:  # of the connection
            for subreddit in self._config.subreddits:
                self._saved.status.of(self._clock.now(), subreddit).errors[refused.state.value] += 1
            self.refuse(refused)
        if calls is not None:
            self._counts[IngestReason.RATE_LIMITED] += calls.limited

    def refuse(self, refused: Refused) -> None:
        """Reddit refuses everything."""
        self._state, self._words = refused.state, str(refused)
        for subreddit in self._config.subreddits:
            self._states[subreddit] = (refused.state, str(refused))
        if refused.state is RedditState.RATE_LIMITED:
            wait_s = _USUAL_WAIT_S if refused.wait_s is None else refused.wait_s
            self._saved.not_before = self._clock.now() + int(min(wait_s, _LONGEST_SILENCE_S) * SECOND_US)

    def _look(self, subreddit: str, what: Callable[[], None]) -> None:
        """Do ``what``. A refusal is the subreddit's alone, or ends the run. Raises _Ended, BudgetSpent."""
        try:
            what()
            self._failed = 0
        except Refused as refused:
            self._fail(subreddit, refused)

    def _fail(self, subreddit: str, refused: Refused) -> None:
        self._saved.status.of(self._clock.now(), subreddit).errors[refused.state.value] += 1
        if refused.state is not RedditState.RATE_LIMITED:
            self._counts[IngestReason.FETCH_FAILED] += 1
        self._failed += refused.is_passing
        if refused.state in OF_ALL or self._failed >= _FAILURES:
            self.refuse(refused)
            raise _Ended
        self._states[subreddit] = (refused.state, str(refused))

    def _is_open(self, subreddit: str) -> bool:
        state, _ = self._states.get(subreddit, (RedditState.OK, ""))
        return subreddit in self._config.subreddits and state in (RedditState.OK, RedditState.FAILING)

    def _lists(self, calls: Calls, subreddit: str) -> None:
        """Hot and top of the day: the top posts themselves, and the discussion threads among both."""
        config = self._config
        hot = threads.listing(calls, subreddit, "hot", config.scan)
        top = threads.listing(calls, subreddit, "top", max(config.scan, config.top_posts))
        talks = [row for row in (*hot, *top[: config.scan]) if _is_discussion(row)]
        now = self._clock.now()
        for row in talks:
            name = threads.name_of(row)
            if not name.startswith("t3_"):
                continue  # a bad row, which is told of below
            self._found.add(name)
            if name not in self._saved.threads:
                self._saved.threads[name] = Thread(subreddit, now, 0)
        self._states.setdefault(subreddit, (RedditState.OK, ""))
        self._commit(subreddit, [*talks, *top[: config.top_posts]])

    def _threads(self, calls: Calls) -> None:
        """Visit the threads, the one that waits longest first."""
        since = self._clock.now() - self._config.revisit_h * _HOUR_US
        waiting = [
            (thread.visited, thread.since, name)
            for name, thread in self._saved.threads.items()
            if (name in self._found or thread.since >= since) and self._is_open(thread.subreddit)
        ]
        for _, _, name in sorted(waiting):
            subreddit = self._saved.threads[name].subreddit
            try:
                if self._is_open(subreddit):
                    self._look(subreddit, partial(self._visit, calls, name))
            except BudgetSpent:
                for _, _, left in waiting:
                    if left not in self._visited:
                        self._cut((self._saved.threads[left].subreddit,), Cap.BUDGET, 1)
                raise _Ended from None

    def _visit(self, calls: Calls, name: str) -> None:
        config, thread = self._config, self._saved.threads[name]
        found = threads.visit(
            calls,
            name,
            most_comments=config.max_comments_per_thread,
            most_expansions=config.max_expansions,
        )
        now = self._clock.now()
        self._visited.add(name)
        self._saved.threads[name] = thread._replace(visited=now)
        self._saved.status.of(now, thread.subreddit).threads.add(name)
        self._commit(thread.subreddit, found.rows)
        for cap, n in found.cut.items():
            self._cut((thread.subreddit,), cap, n)
        if found.failure is not None:
            raise found.failure
        if Cap.BUDGET in found.cut:
            raise BudgetSpent
        self._again(calls, [n for n, row in self._saved.known.items() if row.thread_id == name])

    def _top_posts(self) -> list[str]:
        """Top posts of the last hours."""
        since = self._clock.now() - self._config.revisit_h * _HOUR_US
        return [
            name
            for name, known in self._saved.known.items()
            if known.thread_id == name and known.since >= since and self._is_open(known.subreddit)
        ]

    def _again(self, calls: Calls, names: Iterable[str]) -> None:
        """Ask by name for what no page showed in this run; what is not shown by name either is removed."""
        known = self._saved.known
        unseen = [name for name in names if name not in self._seen and not known[name].removed]
        for batch in threads.batches(unseen):
            subreddit = known[batch[0]].subreddit

            self._look(subreddit, partial(self._ask, calls, batch))

    def _ask(self, calls: Calls, names: Sequence[str]) -> None:
        known, rows = self._saved.known, threads.by_name(calls, names)
        gone = [_removal(name, known[name]) for name in names if name not in rows]
        self._commit(known[names[0]].subreddit, rows.values(), gone)

    def _commit(self, subreddit: str, rows: Iterable[object], gone: Iterable[Post] = ()) -> None:
        """Judge the rows, and write the versions and letters that they make."""
        now = self._clock.now()
        day = self._saved.status.of(now, subreddit)
        posts: dict[str, Post] = {post.native_id: post for post in gone}
        for row in rows:
            try:
                post = post_of(row, now, self._authors)
                posts.setdefault(post.native_id, post)
            except BadRow as bad:
                self._counts[IngestReason.BAD_ITEM] += 1
                if self._saved.is_new_letter(bad.name, now):
                    day.bad += 1
                    self._saved.letters.append(Letter(bad.name, str(bad), bad.raw.decode()))
        for name, post in posts.items():
            self._seen.add(name)
            is_new = name not in self._saved.known
            reason, version = self._saved.judge(post, now)
            self._counts[reason] += 1
            if version is None:
                continue
            self._saved.bodies.append(body_of(version))
            day.newest = max(day.newest or 0, version.event_time)
            if version.removed:
                day.removed += 1
            elif is_new:
                day.new += 1
            else:
                day.updated += 1
        if self._saved.bodies or self._saved.letters:
            save(self._path, self._saved)
        self.flush()

    def flush(self) -> None:
        """Write what the file holds."""
        saved = self._saved
        if not saved.bodies and not saved.letters:
            return
        if saved.bodies:
            self._sink.write(saved.bodies)
        if saved.letters:
            self._sink.refuse(saved.letters)
        saved.bodies, saved.letters = [], []
        save(self._path, saved)

    def _cut(self, subreddits: Iterable[str], cap: Cap, n: int) -> None:
        self._caps[cap] += n
        self._counts[IngestReason.CAP_REACHED] += n
        for subreddit in subreddits:
            self._saved.status.of(self._clock.now(), subreddit).caps[cap.value] += n

    def prune(self) -> None:
        """Forget the threads that are no longer looked at, and what was not seen for twice as long."""
        window = self._config.revisit_h * _HOUR_US
        now, kept = self._clock.now(), self._saved.threads
        for name in list(kept):
            is_over = name not in self._found and kept[name].since < now - window
            if is_over or kept[name].subreddit not in self._config.subreddits:
                del kept[name]
        for name in sorted(kept, key=lambda each: kept[each].since)[:-THREADS_LIMIT]:
            del kept[name]
        self._saved.forget(now - 2 * window)
        self._saved.states = {name: state.value for name, (state, _) in self._states.items()}

    def report(self, requests: int) -> Report:
        return Report(
            state=self._state,
            words=self._words,
            requests=requests,
            counts=+self._counts,
            caps=+self._caps,
            subreddits=self._states,
            next_due=max(self._saved.next_due, self._saved.not_before),
        )


def _is_discussion(row: object) -> bool:
    title = " ".join(threads.title_of(row).casefold().split())
    return any(word in title for word in KEYWORDS)


def _removal(name: str, known: Known) -> Post:
    """The last version of what Reddit no longer shows."""
    return Post(
        native_id=name,
        kind=PostKind.POST if name == known.thread_id else PostKind.COMMENT,
        subreddit=known.subreddit,
        thread_id=known.thread_id,
        published=None if known.time_inferred else known.event_time,
        event_time=known.event_time,
        time_inferred=known.time_inferred,
        flags=(),
        title="",
        text="",
        url=None,
        author_hash=None,
        upvotes=None,
        comments=None,
        removed=True,
    )
