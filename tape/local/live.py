"""What a local stack with live market data needs: where the data is, its keys, and two more workers."""

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

from tapedeck.connectors.alpaca.market.endpoints import DATA_URL, require_data_host, require_feed
from tapedeck.connectors.credentials import credentials
from tapedeck.connectors.kafka.acls import INGEST
from tapedeck.connectors.tapes.writers import LIVE, LIVE_NEWS
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.accounts import EMBEDDED
from tapedeck.streams.config.document import Config
from tapedeck.tape.local.plan import paper_credentials
from tapedeck.tape.local.supervisor import Worker

URL, KEY, SECRET = "TAPE_DATA_URL", "TAPE_DATA_KEY_REF", "TAPE_DATA_SECRET_REF"
DEFAULT_KEY, DEFAULT_SECRET = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"


class LiveData(NamedTuple):
    """Where live market data comes from. ``url`` is ``embedded`` for the stack's own exchange."""

    url: str
    env: Mapping[str, str]

    @property
    def is_embedded(self) -> bool:
        """Whether the stack's own exchange serves a tape whose time runs by itself."""
        return self.url == EMBEDDED

    def workers(self, exchange_url: str) -> tuple[Worker, ...]:
        """The processes that write it into the topics: bars, and the articles of feeds and of Alpaca."""
        env = {URL: exchange_url if self.is_embedded else self.url, **self.env}
        return tuple(
            Worker(
                name=name,
                argv=(sys.executable, "-m", "tapedeck", "ingest", source),
                env=env,
                says_ready=True,
                login=INGEST,
            )
            for name, source in ((LIVE, "bars"), (LIVE_NEWS, "news"))
        )


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
        return LiveData(url, {**named, **paper_credentials(config)})
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
    return LiveData(url, {KEY: key, SECRET: secret})
