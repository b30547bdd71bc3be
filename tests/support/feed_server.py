"""A feed's server on loopback that answers by a script, to the byte."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp.abc import AbstractResolver

from tapedeck.connectors.clock import ManualClock
from tapedeck.connectors.news.fetch import Answer, Fetcher
from tapedeck.connectors.news.validators import Validators
from tapedeck.streams.protocol import SECOND_US

Script = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HOST = "127.0.0.1"
NOW = 1_790_000_000 * SECOND_US


@dataclass
class FeedServer:
    """Gives its answers in order, the last one again and again. ``requests``: path and headers of each."""

    answers: list[Script]
    port: int = 0
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    def url(self, path: str = "/feed", host: str = HOST) -> str:
        return f"http://{host}:{self.port}{path}"

    def sent(self, name: str) -> list[str | None]:
        """A header of each request, None where it has none."""
        return [headers.get(name.lower()) for _, headers in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
            headers = {
                name.lower(): value.strip()
                for name, _, value in (each.partition(":") for each in head[1:] if each)
            }
            self.requests.append((head[0].split()[1], headers))
            script = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(script, bytes):
                writer.write(script)
                await writer.drain()
            else:
                await script(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client left, as some of these answers make it
        finally:
            self.in_flight -= 1
            writer.close()


class Names(AbstractResolver):
    """Resolves every name to the same addresses, separated by spaces."""

    def __init__(self, addresses: str = HOST) -> None:
        self.addresses = addresses.split()

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> Any:
        return [
            {"hostname": host, "host": each, "port": port, "family": 2, "proto": 0, "flags": 4}
            for each in self.addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


@asynccontextmanager
async def serving(*answers: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[FeedServer]:
    """A server that runs meanwhile."""
    found = FeedServer(list(answers))
    server = await asyncio.start_server(found.serve, HOST, 0, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()


def answer(status: int = 200, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """One answer, whole; the connection is closed after it."""
    told = {"Content-Length": str(len(body)), "Connection": "close"} | dict(headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value)
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode("latin-1") + body


def entry(guid: str, title: str, more: str = "") -> str:
    return f"<item><guid>{guid}</guid><title>{title}</title>{more}</item>"


def rss(*entries: str, built: str = "") -> bytes:
    """An RSS document."""
    head = f"<lastBuildDate>{built}</lastBuildDate>" if built else ""
    return (
        f'<?xml version="1.0"?><rss version="2.0"><channel>{head}{"".join(entries)}</channel></rss>'.encode()
    )


ONE = rss(entry("a", "Chips rally"))


class Naps:
    """Stands for sleep; ``taken`` has the seconds."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


def fetcher(**kwargs: Any) -> Fetcher:
    """A fetcher that reaches loopback and does not sleep, its clock at ``NOW``."""
    return Fetcher(
        **{"clock": ManualClock(NOW), "allow_private": (HOST,), "sleep": Naps(), "chance": random.Random(7)}
        | kwargs
    )


def fetched(
    *answers: Script, times: int | None = None, start: Validators | None = None, **kwargs: Any
) -> tuple[list[Answer], FeedServer]:
    """Fetch once per answer, each time with the validators of the time before: (answers, server)."""

    async def go() -> tuple[list[Answer], FeedServer]:
        found: list[Answer] = []
        known = start or Validators()
        async with serving(*answers) as server:
            client = fetcher(**kwargs)
            for _ in range(times or len(answers)):
                found.append(await client.fetch(server.url(), known))
                known = found[-1].validators
            return found, server

    return asyncio.run(go())
