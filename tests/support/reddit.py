"""A small Reddit: answers in the shapes of its API, a client without HTTP, and a server on loopback."""

import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tapedeck.connectors.reddit.job import Job
from tapedeck.connectors.reddit.lease import JobLease
from tapedeck.connectors.reddit.pace import Gate, Params
from tapedeck.connectors.reddit.posts import Authors
from tapedeck.connectors.reddit.saved import Letter
from tapedeck.connectors.reddit.states import Answer, refused_by
from tapedeck.streams.config.text_groups import Reddit
from tapedeck.streams.protocol import MINUTE_US, SECOND_US

NOW = 1_790_000_000 * SECOND_US
TALK = "t3_talk"
SALT = "a salt of the tests, long enough"
AUTHORS = Authors(SALT)
Reply = tuple[int, dict[str, str], bytes]
TOKEN = "the-token-of-the-tests"


class Hours:
    """A clock, its monotonic twin, and a sleep that moves both."""

    def __init__(self, now: int = NOW) -> None:
        self._now = now
        self.slept: list[float] = []

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._now / SECOND_US

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now += round(seconds * SECOND_US)

    def pass_minutes(self, minutes: float) -> None:
        self._now += round(minutes * MINUTE_US)


def post(name: str, title: str = "A title", **changed: Any) -> dict[str, Any]:
    """What Reddit's API sends of a post, without what nobody reads."""
    data = {
        "id": name,
        "name": f"t3_{name}",
        "subreddit": "wallstreetbets",
        "title": title,
        "selftext": "",
        "author": "somebody",
        "author_fullname": "t2_abc",
        "score": 10,
        "ups": 10,
        "upvote_ratio": 0.9,
        "num_comments": 3,
        "created_utc": NOW / SECOND_US - 3600.0,
        "edited": False,
        "permalink": f"/r/wallstreetbets/comments/{name}/a_title/",
        "removed_by_category": None,
        "stickied": False,
        "over_18": False,
        "url": "https://example.com/elsewhere",
    }
    return {"kind": "t3", "data": data | changed}


def comment(name: str, thread: str, body: str = "A comment", **changed: Any) -> dict[str, Any]:
    """What Reddit's API sends of a comment; without replies."""
    data = {
        "id": name,
        "name": f"t1_{name}",
        "subreddit": "wallstreetbets",
        "link_id": f"t3_{thread}",
        "parent_id": f"t3_{thread}",
        "body": body,
        "author": "somebody_else",
        "score": 2,
        "score_hidden": False,
        "created_utc": NOW / SECOND_US - 1800.0,
        "edited": False,
        "permalink": f"/r/wallstreetbets/comments/{thread}/a_title/{name}/",
        "replies": "",
        "depth": 0,
    }
    return {"kind": "t1", "data": data | changed}


def listing(rows: Sequence[object]) -> dict[str, Any]:
    return {"kind": "Listing", "data": {"after": None, "dist": len(rows), "children": list(rows)}}


def more(ids: Sequence[str], thread: str, count: int | None = None) -> dict[str, Any]:
    data = {
        "count": len(ids) if count is None else count,
        "name": f"t1_{ids[0] if ids else '_'}",
        "id": ids[0] if ids else "_",
        "parent_id": f"t3_{thread}",
        "depth": 0,
        "children": list(ids),
    }
    return {"kind": "more", "data": data}


def private(reason: str = "private") -> Reply:
    return _reply({"reason": reason, "message": "Forbidden", "error": 403}, 403)


BLOCKED = (
    403,
    {"Content-Type": "text/html"},
    b"<body>You've been blocked by network security. To continue, log in to your Reddit account.</body>",
)
UNAVAILABLE = (503, {"Content-Type": "text/html"}, b"<html>upstream connect error</html>")
EXPIRED = (
    401,
    {"WWW-Authenticate": 'Bearer realm="reddit", error="invalid_token"'},
    b'{"message": "Unauthorized", "error": 401}',
)


def limited(**headers: str) -> Reply:
    return 429, {name.replace("_", "-"): value for name, value in headers.items()}, b"Too Many Requests"


def _reply(document: object, status: int = 200) -> Reply:
    return status, {"Content-Type": "application/json; charset=UTF-8"}, json.dumps(document).encode()


@dataclass
class SmallReddit:
    """What stands on Reddit. ``shown``: how many comments a page shows before it collapses the rest."""

    hot: list[str] = field(default_factory=list)
    top: list[str] = field(default_factory=list)
    rows: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, list[str]] = field(default_factory=dict)
    shown: int = 500
    faults: list[tuple[str, Reply]] = field(default_factory=list)
    """The next answer to a path with these letters, once each."""
    always: dict[str, Reply] = field(default_factory=dict)
    every: Callable[[], dict[str, str]] = dict
    """Headers of every answer."""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def put(self, *rows: dict[str, Any], hot: bool = False, top: bool = False) -> None:
        for row in rows:
            name = f"{row['kind']}_{row['data']['id']}"
            self.rows[name] = row
            if row["kind"] == "t1":
                self.comments.setdefault(row["data"]["link_id"], []).append(name)
            if hot:
                self.hot.append(name)
            if top:
                self.top.append(name)

    def change(self, name: str, **changed: Any) -> None:
        self.rows[name]["data"] |= changed

    def hide(self, name: str) -> None:
        """No page shows it any more, and nothing answers to its name."""
        row = self.rows.pop(name)
        for names in (self.hot, self.top, self.comments.get(row["data"].get("link_id", ""), [])):
            if name in names:
                names.remove(name)

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def answer(self, path: str, params: dict[str, Any]) -> Reply:
        path = path.strip("/")
        self.asked.append((path, dict(params)))
        for at, (letters, reply) in enumerate(self.faults):
            if letters in path:
                del self.faults[at]
                return reply
        for letters, reply in self.always.items():
            if letters in path:
                return reply
        status, headers, body = self._answer(path, params)
        return status, headers | self.every(), body

    def _answer(self, path: str, params: dict[str, Any]) -> Reply:
        limit = int(params.get("limit", 25))
        if path.endswith(("/hot", "/top")):
            names = self.hot if path.endswith("/hot") else self.top
            return _reply(listing([self.rows[name] for name in names[:limit]]))
        if path == "api/info":
            return _reply(listing([self.rows[n] for n in params["id"].split(",") if n in self.rows]))
        if path == "api/morechildren":
            thread = params["link_id"].removeprefix("t3_")
            ids = params["children"].split(",")
            found = [self.rows[f"t1_{each}"] for each in ids[:100] if f"t1_{each}" in self.rows]
            rest = [more(ids[100:], thread)] if ids[100:] else []
            return _reply({"json": {"errors": [], "data": {"things": found + rest}}})
        thread = path.split("/")[1]
        names = self.comments.get(f"t3_{thread}", [])
        shown = [self.rows[name] for name in names[: self.shown]]
        if names[self.shown :]:
            shown.append(more([name[3:] for name in names[self.shown :]], thread))
        return _reply([listing([self.rows[f"t3_{thread}"]]), listing(shown)])


def reddit_with(comments: int = 3, **options: Any) -> SmallReddit:
    """A discussion thread with comments, a top post, and a hot post that is neither."""
    reddit = SmallReddit(**options)
    reddit.put(post("talk", "Daily Discussion Thread for Friday", num_comments=comments), hot=True)
    reddit.put(post("rules", "Read the rules"), hot=True)
    reddit.put(post("best", "The best of the day", selftext="Gains"), top=True)
    reddit.put(*(comment(f"c{n}", "talk", f"comment {n}") for n in range(comments)))
    return reddit


class PlainClient:
    """A client of a small Reddit without HTTP."""

    def __init__(self, reddit: SmallReddit, gate: Gate, hours: Hours) -> None:
        self._reddit, self._gate, self._hours = reddit, gate, hours

    def get(self, path: str, params: Params) -> Any:
        self._gate.before()
        status, headers, body = self._reddit.answer(path, dict(params))
        low = {name.lower(): value for name, value in headers.items()}
        answer = Answer(status=status, headers=low, text="" if status == 200 else body.decode())
        self._gate.after(answer)
        refused = refused_by(answer, self._hours.now())
        if refused is not None:
            raise refused
        return json.loads(body)


class Crash(Exception):
    """The process ends here."""


@dataclass
class Written:
    """A sink that keeps what it is given. ``crash_at``: the call to ``write`` that crashes, counted from 1,
    after it has written.
    """

    bodies: list[dict[str, Any]] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    crash_at: int = 0
    calls: int = 0

    def write(self, bodies: Sequence[dict[str, Any]]) -> None:
        self.bodies += [dict(body) for body in bodies]
        self.calls += 1
        if self.calls == self.crash_at:
            raise Crash

    def refuse(self, letters: Sequence[Letter]) -> None:
        self.letters += letters

    def of(self, name: str) -> list[dict[str, Any]]:
        return [body for body in self.bodies if body["native_id"] == name]


class Free:
    """A lease that is always ours."""

    def __init__(self) -> None:
        self.held = False

    def acquire(self) -> None:
        self.held = True

    def check(self) -> None:
        assert self.held

    def release(self) -> None:
        self.held = False


def job(
    reddit: SmallReddit,
    sink: Written,
    path: Path,
    hours: Hours,
    config: Reddit | None = None,
    lease: JobLease | None = None,
) -> Job:
    """The job over a small Reddit, without HTTP."""
    return Job(
        config or Reddit(),
        lambda gate: PlainClient(reddit, gate, hours),
        sink,
        AUTHORS,
        path,
        lease=lease or Free(),
        clock=hours,
        monotonic=hours.monotonic,
        sleep=hours.sleep,
        chance=random.Random(1),
    )


@dataclass
class Server:
    """A small Reddit behind HTTP. ``requests``: method, path and headers of each."""

    reddit: SmallReddit
    port: int = 0
    login: Reply | None = None
    tokens: int = 0
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serving(reddit: SmallReddit) -> Iterator[Server]:
    """A server on loopback that runs meanwhile."""
    told = Server(reddit)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._note(parts.path)
            self._send(reddit.answer(parts.path, dict(parse_qsl(parts.query))))

        def do_POST(self) -> None:
            self._note(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told.tokens += 1
            grant = {"access_token": TOKEN, "token_type": "bearer", "expires_in": 3600, "scope": "*"}
            self._send(told.login or _reply(grant))

        def _note(self, path: str) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.requests.append((self.command, path, headers))

        def _send(self, reply: Reply) -> None:
            status, headers, body = reply
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()
