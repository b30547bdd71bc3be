"""Reddit's API through praw: read only, without its configuration files, and with every request told.

praw is asked for plain JSON: its objects would fetch on their own, and lose a whole page over one bad row.
"""

import re
from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from ipaddress import ip_address
from os import environ
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from tapedeck.connectors.clock import Clock
from tapedeck.connectors.reddit.pace import BudgetSpent, Gate, Params
from tapedeck.connectors.reddit.posts import Authors
from tapedeck.connectors.reddit.states import Answer, no_app, unanswered
from tapedeck.connectors.secrets import Secret, secret_of
from tapedeck.schemas.errors import Fatal, TapeError

CLIENT_ID, CLIENT_SECRET = "REDDIT_CLIENT_ID", "REDDIT_CLIENT_SECRET"
USER_AGENT, AUTHOR_SALT = "REDDIT_USER_AGENT", "REDDIT_AUTHOR_SALT"
API_URL, LOGIN_URL = "https://oauth.reddit.com", "https://www.reddit.com"
TIMEOUT_S = 15
PRAW, PRAWCORE = "praw", "prawcore"
"""Packages of the extra `reddit`, imported when a client is made."""
_DEFAULT_AGENT = "python:tapedeck:0.1 (read only)"
_LOGIN_PATH = "/api/v1/access_token"
_AGENT = re.compile(r"[\x20-\x7e]{7,200}")
_TEXT_LIMIT = 8_192
_ANSWER_LIMIT = 32 * 1024 * 1024
_ANSWER_S = 60.0
_PIECE = 65_536
_WINDOW = ("x-ratelimit-remaining", "x-ratelimit-used", "x-ratelimit-reset")


@dataclass(frozen=True, kw_only=True)
class App:
    """Reddit's app, by which it lets us in, and where it is asked."""

    client_id: Secret
    client_secret: Secret
    user_agent: str = _DEFAULT_AGENT
    api_url: str = API_URL
    login_url: str = LOGIN_URL


def app_of(environment: Mapping[str, str] = environ) -> App:
    """The app in the variables REDDIT_CLIENT_ID, REDDIT_CLIENT_SECRET and REDDIT_USER_AGENT."""
    return App(
        client_id=secret_of(CLIENT_ID, environment),
        client_secret=secret_of(CLIENT_SECRET, environment),
        user_agent=environment.get(USER_AGENT) or _DEFAULT_AGENT,
    )


def authors_of(environment: Mapping[str, str] = environ) -> Authors:
    """The hashes of authors, with the salt in REDDIT_AUTHOR_SALT or its file. Raises Fatal without one."""
    salt = secret_of(AUTHOR_SALT, environment)
    if not salt:
        raise Fatal(
            "the salt of the authors' hashes is not set",
            value=AUTHOR_SALT,
            remedy="set it to the output of `openssl rand -hex 32`, and keep it",
        )
    return Authors(salt.read())


class PrawClient:
    """A read-only client. Blocking; one instance per run, so that a replaced secret takes effect."""

    def __init__(self, app: App, gate: Gate, clock: Clock, *, timeout_s: int = TIMEOUT_S) -> None:
        """Raises Refused (NO_APP) without credentials, Fatal for an address or user agent that is none."""
        for secret in (app.client_id, app.client_secret):
            if not secret:
                raise no_app(secret.name)
        for url in (app.api_url, app.login_url):
            _require_reddit(url)
        if not _AGENT.fullmatch(app.user_agent):
            what = "the user agent is not 7 to 200 plain characters"
            raise Fatal(what, value=app.user_agent, remedy=f"write {USER_AGENT} as {_DEFAULT_AGENT!r}")
        self._clock = clock
        self._heard = _Heard(gate)
        praw = _praw()
        _ignore_files(praw)
        self._reddit: Any = praw.Reddit(
            # Each is given: what is not comes from the environment or a file.
            "DEFAULT",
            client_id=app.client_id.read(),
            client_secret=app.client_secret.read(),
            user_agent=app.user_agent,
            oauth_url=app.api_url,
            reddit_url=app.login_url,
            username=None,
            password=None,
            refresh_token=None,
            redirect_uri=None,
            timeout=timeout_s,
            check_for_updates=False,
            check_for_async=False,
            requestor_class=_requestor_class(),
            requestor_kwargs={"heard": self._heard, "timeout": timeout_s},
        )
        self._reddit.read_only = True

    def get(self, path: str, params: Params) -> Any:
        """The JSON at ``path``. praw renews a token that is refused, and repeats what its server failed at.

        Raises Refused, and what the gate raises.
        """
        self._heard.answer = None
        try:
            return self._reddit.request(method="GET", path=path, params=dict(params))
        except (TapeError, BudgetSpent):
            raise
        except Exception as error:
            # praw fails in ways of its own over an answer that it does not know: the answer says more. Its
            # errors hold the credentials that were sent, so they are left behind.
            raise unanswered(error, self._clock.now(), self._heard.answer) from None


class _Heard:
    """What was heard last, and whom to tell."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.answer: Answer | None = None


def require_praw() -> None:
    """Raises Fatal where the extra `reddit` is not installed."""
    _praw()


def _praw() -> Any:
    try:
        return import_module(PRAW)
    except ImportError as error:
        raise Fatal("Reddit needs the package praw", remedy="pip install 'tapedeck[reddit]'") from error


def _ignore_files(praw: Any) -> None:
    """Take praw's defaults from its package alone.

    It would also read praw.ini in the working directory: a file planted there can send the credentials to
    another host.
    """
    config = praw.config.Config
    with config.LOCK:
        defaults = ConfigParser(interpolation=None)
        defaults.read_string(files(praw).joinpath("praw.ini").read_text(encoding="utf-8"))
        config.CONFIG = defaults


def _requestor_class() -> Any:
    """praw's maker of requests, which asks the gate before each and tells of each answer."""
    base: Any = import_module(PRAWCORE).Requestor

    class Told(base):  # type: ignore[misc]
        def __init__(self, *, heard: _Heard, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self._heard = heard

        def request(self, method: str, url: str, **kwargs: Any) -> Any:
            self._heard.gate.before()
            self._heard.answer = None
            response = super().request(method, url, **{**kwargs, "allow_redirects": False, "stream": True})
            _take(response)
            answer = _answer(response, url)
            self._heard.answer = answer
            self._heard.gate.after(answer)
            for name in _WINDOW:
                # praw would sleep on a clock of its own; the gate has the window now.
                response.headers.pop(name, None)
            return response

    return Told


def _take(response: Any) -> None:
    """Read the body within bounds: a time-out of the connection alone ends no answer that drips.

    Raises OSError, which tells what is wrong with it.
    """
    end, body = monotonic() + _ANSWER_S, bytearray()
    for piece in response.iter_content(_PIECE):
        body += piece
        if len(body) > _ANSWER_LIMIT:
            response.close()
            raise OSError(f"the answer is longer than {_ANSWER_LIMIT} bytes")
        if monotonic() > end:
            response.close()
            raise OSError(f"the answer takes longer than {_ANSWER_S} s")
    # What requests itself keeps of a body that it has read.
    response._content = bytes(body)


def _answer(response: Any, url: str) -> Answer:
    is_token = urlsplit(url).path.endswith(_LOGIN_PATH)
    # The text of a good answer is not needed, and that of a login is a secret.
    is_shown = response.status_code != 200 or (is_token and b"access_token" not in response.content)
    return Answer(
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.items()},
        text=response.content[:_TEXT_LIMIT].decode("utf-8", "replace") if is_shown else "",
        is_token=is_token,
    )


def _require_reddit(url: str) -> None:
    """Credentials go to Reddit, or to this machine."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if parts.scheme == "https" and (host == "reddit.com" or host.endswith(".reddit.com")):
        return
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    if not is_here:
        raise Fatal("this address is not Reddit's", value=url, remedy=f"use {API_URL} and {LOGIN_URL}")
