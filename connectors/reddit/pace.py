"""How fast Reddit is asked, for how long, and what a refused rate costs."""

import random
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tapedeck.connectors.reddit.states import Answer, RedditState, Refused, used_up

TRIES = 3
WAITS_S = (30.0, 60.0, 120.0)
"""Waits after a refused rate that names none, one per try; up to ``JITTER_S`` is added."""
JITTER_S = 5.0
LONGEST_WAIT_S = 180.0
"""A run does not sit out a longer wait: it ends, and the next one begins no earlier than Reddit asks."""
Params = Mapping[str, str | int]


class BudgetSpent(Exception):
    """The run's time is over: what is left waits for the next run."""


class Client(Protocol):
    """Reddit's API, read only."""

    def get(self, path: str, params: Params) -> Any:
        """The JSON at ``path``. Raises Refused."""
        ...


class Gate(Protocol):
    """What a client tells of each HTTP request that it makes, its repeats and its login included."""

    def before(self) -> None:
        """Called before each. Sleeps until it may be made. Raises BudgetSpent, Refused."""
        ...

    def after(self, answer: Answer) -> None:
        """Called with each answer."""
        ...


class Pace:
    """The gate of one run: an even rate, Reddit's own window, and the run's budget."""

    def __init__(
        self,
        *,
        per_minute: int,
        budget_s: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        check: Callable[[], object],
    ) -> None:
        """``check`` is asked before each request whether the job is still ours; it raises if not."""
        self._every_s = 60.0 / per_minute
        self._monotonic, self._sleep, self._check = monotonic, sleep, check
        self._end = monotonic() + budget_s
        self._next = self._free = monotonic()
        self.requests = 0

    @property
    def left_s(self) -> float:
        """Seconds of the budget that are left."""
        return self._end - self._monotonic()

    def before(self) -> None:
        now = self._monotonic()
        window = self._free - now
        if window > min(LONGEST_WAIT_S, self.left_s):
            raise Refused(RedditState.RATE_LIMITED, "Reddit's window has no request left", wait_s=window)
        self.rest(max(window, self._next - now))
        self._check()
        self._next = self._monotonic() + self._every_s
        self.requests += 1

    def after(self, answer: Answer) -> None:
        reset = used_up(answer)
        if reset is not None:
            self._free = self._monotonic() + reset

    def rest(self, wait_s: float) -> None:
        """Sleep. Raises BudgetSpent, without sleeping, if the budget ends before."""
        if wait_s >= self.left_s:
            raise BudgetSpent
        if wait_s > 0:
            self._sleep(wait_s)


class Calls:
    """A client whose refused rates are waited for."""

    def __init__(self, client: Client, pace: Pace, chance: random.Random) -> None:
        self._client, self._pace, self._chance = client, pace, chance
        self.limited = 0
        """Answers that refused the rate."""

    def get(self, path: str, params: Params) -> Any:
        """As the client's. Raises Refused with the wait that is left, and BudgetSpent."""
        for attempt, usual_s in enumerate(WAITS_S, start=1):
            try:
                return self._client.get(path, params)
            except Refused as refused:
                if refused.state is not RedditState.RATE_LIMITED:
                    raise
                self.limited += 1
                wait_s = refused.wait_s
                if wait_s is None:
                    wait_s = min(LONGEST_WAIT_S, usual_s + self._chance.uniform(0.0, JITTER_S))
                if attempt == TRIES or wait_s > min(LONGEST_WAIT_S, self._pace.left_s):
                    raise Refused(RedditState.RATE_LIMITED, refused.what, wait_s=wait_s) from refused
            self._pace.rest(wait_s)
        raise AssertionError("the last try returns or raises")
