"""Alpaca's historical news over REST: pages of articles in the order of their updates."""

import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from alpaca.common.enums import Sort
from alpaca.data.historical.news import NewsClient
from alpaca.data.requests import NewsRequest

from tapedeck.connectors.alpaca.market.endpoints import require_data_host
from tapedeck.connectors.alpaca.patient import ATTEMPTS, Patient, moment, object_of
from tapedeck.connectors.clock import Clock
from tapedeck.connectors.credentials import Credentials

PAGE = 50
"""The most articles that Alpaca puts into one page."""


class NewsHistory:
    """Articles of every symbol. Blocking; one instance per thread.

    ``sleep`` waits between tries, and may raise to end them.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        *,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
        attempts: int = ATTEMPTS,
        rng: Random | None = None,
    ) -> None:
        require_data_host(base_url)
        client = NewsClient(credentials.key, credentials.secret, url_override=base_url, raw_data=True)
        self._patient = Patient(client, base_url, clock=clock, sleep=sleep, attempts=attempts, rng=rng)

    def pages(self, since: int) -> Iterator[dict[str, Any]]:
        """Every page, as it came, of the articles updated at ``since`` (UTC micros) or later, oldest first.

        It has the newest version of each article alone. Raises Refused for a definite no, RateLimited or
        Doubt where all tries failed.
        """
        wanted = NewsRequest(start=moment(since), sort=Sort.ASC, limit=PAGE, include_content=True)
        fields, token = wanted.to_request_fields(), None
        while True:
            page = self._patient.tried(object_of, "/news", fields | ({"page_token": token} if token else {}))
            yield page
            found = page.get("next_page_token")
            if not isinstance(found, str) or not found or found == token:
                return
            token = found
