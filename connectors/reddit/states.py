"""What Reddit's answers mean: a named state with words and a remedy, and how long it asks to wait."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tapedeck.connectors.waits import asked_wait_s, seconds_in
from tapedeck.schemas.errors import Retry

_SHOWN = 200
_SERVER_ERROR = 500


class RedditState(StrEnum):
    """How Reddit, or one subreddit, can be read."""

    OK = "OK"
    NO_APP = "NO_APP"
    """No credentials, or Reddit does not know the app behind them."""
    TOKEN_EXPIRED = "TOKEN_EXPIRED"
    """A token is refused although it was just renewed."""
    NETWORK_BLOCKED = "NETWORK_BLOCKED"
    """Refused by network security: no valid token, or an address that Reddit shuts out."""
    RATE_LIMITED = "RATE_LIMITED"
    SUBREDDIT_PRIVATE = "SUBREDDIT_PRIVATE"
    QUARANTINED = "QUARANTINED"
    FAILING = "FAILING"
    """Anything else: no answer, a server's error, a page that is no answer."""


OF_ALL = frozenset(
    (
        RedditState.NO_APP,
        RedditState.TOKEN_EXPIRED,
        RedditState.NETWORK_BLOCKED,
        RedditState.RATE_LIMITED,
    )
)
"""States that hold for every subreddit: one such answer ends the run."""
RED = frozenset((RedditState.NO_APP, RedditState.TOKEN_EXPIRED, RedditState.NETWORK_BLOCKED))
"""States that only a person can end."""

REMEDIES: Mapping[RedditState, str] = {
    RedditState.OK: "",
    RedditState.NO_APP: (
        "create an app of the type script at reddit.com/prefs/apps, wait for its approval, and set"
        " REDDIT_CLIENT_ID and REDDIT_CLIENT_SECRET"
    ),
    RedditState.TOKEN_EXPIRED: (
        "check that the app still exists at reddit.com/prefs/apps and that its secret is the one in"
        " REDDIT_CLIENT_SECRET"
    ),
    RedditState.NETWORK_BLOCKED: (
        "check that the app is approved and REDDIT_USER_AGENT names it and its owner; if so, ask Reddit about"
        " this machine's address"
    ),
    RedditState.RATE_LIMITED: "nothing to do: the next run waits as long as Reddit asks",
    RedditState.SUBREDDIT_PRIVATE: "take it out of reddit.subreddits, or ask its moderators for access",
    RedditState.QUARANTINED: "take it out of reddit.subreddits: an app without a user cannot opt in",
    RedditState.FAILING: "nothing to do if it passes: the next run tries again and loses nothing",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One HTTP answer: header names in lower case, the beginning of the body. ``is_token``: of the login."""

    status: int
    headers: Mapping[str, str]
    text: str = ""
    is_token: bool = False


class Refused(Retry):
    """Reddit gave nothing. ``wait_s``: the wait that it asks for, None where it names none."""

    def __init__(
        self, state: RedditState, what: str, *, wait_s: float | None = None, is_passing: bool = False
    ) -> None:
        self.state = state
        self.wait_s = wait_s
        self.is_passing = is_passing
        """Whether the same request may succeed soon."""
        super().__init__(what, remedy=REMEDIES[state], reason=state.value)


def refused_by(answer: Answer, now: int) -> Refused | None:
    """What an answer means; None for a good one. ``now``: UTC microseconds, for a wait given as a date."""
    status = answer.status
    said = _said(answer)
    if status == 429:
        return Refused(RedditState.RATE_LIMITED, "Reddit limits the rate", wait_s=wait_of(answer, now))
    if _is_block(answer):
        return Refused(RedditState.NETWORK_BLOCKED, "Reddit's network security refuses the request")
    if status >= _SERVER_ERROR:
        return Refused(RedditState.FAILING, f"Reddit answers {status}", is_passing=True)
    if answer.is_token:
        return _refused_login(status, said)
    if status == 401:
        return Refused(RedditState.TOKEN_EXPIRED, "Reddit refuses a token that was just renewed")
    if status == 403:
        return _forbidden(answer, said)
    if status == 404:
        return Refused(RedditState.FAILING, f"Reddit has no such thing{_quoted(said.get('reason'))}")
    if 300 <= status < 400:
        return Refused(RedditState.FAILING, "Reddit has no subreddit of this name: it answers with a search")
    if status >= 400:
        return Refused(RedditState.FAILING, f"Reddit answers {status}{_quoted(said.get('message'))}")
    return None


def unanswered(error: Exception, now: int, answer: Answer | None = None) -> Refused:
    """What it means that a client raised ``error``, after ``answer`` if there was one."""
    meant = None if answer is None else refused_by(answer, now)
    if meant is not None:
        return meant
    if answer is None:
        return Refused(RedditState.FAILING, f"Reddit does not answer: {_short(str(error))}", is_passing=True)
    return Refused(RedditState.FAILING, f"Reddit's answer is no data: {_short(str(error))}", is_passing=True)


def no_app(missing: str) -> Refused:
    """There are no credentials: nothing is asked."""
    return Refused(RedditState.NO_APP, f"{missing} is not set")


def wait_of(answer: Answer, now: int) -> float | None:
    """Seconds that an answer asks to wait; None where it names no time that can be read."""
    asked = asked_wait_s(answer.headers.get("retry-after"), now)
    return asked if asked is not None else seconds_in(answer.headers.get("x-ratelimit-reset"))


def used_up(answer: Answer) -> float | None:
    """Seconds until Reddit's own window begins anew if it has no request left; None if it has some."""
    left = seconds_in(answer.headers.get("x-ratelimit-remaining"))
    reset = seconds_in(answer.headers.get("x-ratelimit-reset"))
    return reset if left is not None and left < 1 else None


def _refused_login(status: int, said: Mapping[str, object]) -> Refused | None:
    error = said.get("error")
    if status in (400, 401, 403, 404) or (status == 200 and error is not None):
        return Refused(RedditState.NO_APP, f"Reddit does not know the app{_quoted(error)}")
    if status != 200:
        return Refused(RedditState.FAILING, f"Reddit's login answers {status}")
    return None


def _forbidden(answer: Answer, said: Mapping[str, object]) -> Refused:
    challenge = answer.headers.get("www-authenticate", "")
    if "invalid_token" in challenge or "insufficient_scope" in challenge:
        return Refused(RedditState.TOKEN_EXPIRED, "Reddit refuses a token that was just renewed")
    reason = said.get("reason")
    if reason == "quarantined":
        return Refused(RedditState.QUARANTINED, "the subreddit is quarantined")
    if reason == "private":
        return Refused(RedditState.SUBREDDIT_PRIVATE, "the subreddit is private")
    if reason is not None:
        return Refused(RedditState.SUBREDDIT_PRIVATE, f"the subreddit is closed{_quoted(reason)}")
    return Refused(RedditState.FAILING, f"Reddit forbids it{_quoted(said.get('message'))}")


def _is_block(answer: Answer) -> bool:
    """Reddit's gateway, not its API, answers 403 with a page or a sentence."""
    text = answer.text.lower()
    return answer.status == 403 and ("network security" in text or "whoa there, pardner" in text)


def _said(answer: Answer) -> Mapping[str, object]:
    try:
        found = json.loads(answer.text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _quoted(said: object) -> str:
    return f": {_short(str(said))}" if said not in (None, "") else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
