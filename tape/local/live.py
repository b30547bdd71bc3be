"""What a local stack with live market data needs: where the data is, its keys, and what is started for it."""

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

from tapedeck.connectors.alpaca.market.endpoints import DATA_URL, require_data_host, require_feed
from tapedeck.connectors.credentials import credentials
from tapedeck.connectors.kafka.acls import INGEST
from tapedeck.connectors.reddit.client import app_of, authors_of, require_praw
from tapedeck.connectors.reddit.states import no_app
from tapedeck.connectors.tapes.writers import LIVE, LIVE_NEWS, LIVE_POSTS
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.accounts import EMBEDDED
from tapedeck.streams.config.document import Config
from tapedeck.tape.local.plan import paper_credentials
from tapedeck.tape.local.supervisor import Worker

URL, KEY, SECRET = "TAPE_DATA_URL", "TAPE_DATA_KEY_REF", "TAPE_DATA_SECRET_REF"
DEFAULT_KEY, DEFAULT_SECRET = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"


class LiveData(NamedTuple):
    """Where live market data comes from. ``url`` is ``embedded`` for the stack's own exchange.

    ``no_posts``: why Reddit is not read beside it, None where it is.
    """

    url: str
    env: Mapping[str, str]
    no_posts: str | None

    @property
    def is_embedded(self) -> bool:
        """Whether the stack's own exchange serves a tape whose time runs by itself."""
        return self.url == EMBEDDED

    def workers(self, exchange_url: str) -> tuple[Worker, ...]:
        """The processes that write it: bars, the articles of feeds and of Alpaca, and Reddit's posts."""
        env = {URL: exchange_url if self.is_embedded else self.url, **self.env}
        posts = () if self.no_posts else (_ingest(LIVE_POSTS, "posts", {}),)
        return (_ingest(LIVE, "bars", env), _ingest(LIVE_NEWS, "news", env), *posts)


def _ingest(name: str, source: str, env: Mapping[str, str]) -> Worker:
    argv = (sys.executable, "-m", "tapedeck", "ingest", source)
    return Worker(name=name, argv=argv, env=env, says_ready=True, login=INGEST)


def live_data(config: Config, environment: Mapping[str, str] = os.environ) -> LiveData:
    """What TAPE_DATA_URL and the variables of its keys name, checked before anything is started.

    Raises Fatal for an address that may not get the keys, a feed without a stream, or missing keys.
    """
    url = environment.get(URL) or DATA_URL
    require_feed(config.bars.feed)
    if url == EMBEDDED:
        if not config.accounts:
            remedy = "add an account to the document: the data server has the keys of the accounts"
            raise Fatal(
                "the embedded exchange serves market data to accounts, and there is none", remedy=remedy
            )
        first = config.accounts[0]
        named = {KEY: first.key_ref, SECRET: first.secret_ref}
        return LiveData(
            url,
            {**named, **paper_credentials(config)},
            "the embedded exchange's session has a time of its own, and posts have today's",
        )
    require_data_host(url)
    key, secret = environment.get(KEY) or DEFAULT_KEY, environment.get(SECRET) or DEFAULT_SECRET
    try:
        credentials(key, secret, environment)
    except Fatal as error:
        raise Fatal(
            f"live market data needs keys: {error.what}",
            value=error.value,
            remedy=f"{error.remedy} (keys of Alpaca's paper trading are enough); or, to see it without an "
            f"account, set {URL}={EMBEDDED}: the stack's own exchange serves a synthetic session",
        ) from None
    return LiveData(url, {KEY: key, SECRET: secret}, why_no_posts(config, environment))


def why_no_posts(config: Config, environment: Mapping[str, str]) -> str | None:
    """Why `tape ingest posts` cannot run, in words with the remedy; None where all that it needs is there.

    Nothing is asked of Reddit: an app that it does not know is a state of the running process.
    """
    if not config.reddit.subreddits:
        return "no subreddit is configured in reddit.subreddits"
    try:
        app = app_of(environment)
        for secret in (app.client_id, app.client_secret):
            if not secret:
                return str(no_app(secret.name))
            secret.read()
        authors_of(environment)
        require_praw()
    except Fatal as error:
        return str(error)
    return None
