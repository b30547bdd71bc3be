"""`tape health`: ask the process here whether it is well. It imports nothing heavy: probes run it often."""

import os
import sys

PORT, DEFAULT_PORT = "TAPE_HEALTH_PORT", "9464"
TIMEOUT_S = 2.0
USAGE = "usage: tape health [--live | --ready]"


def main(arguments: list[str]) -> int:
    """Print one line; 0 if the process is well, 1 if not or it does not answer, 2 for a wrong call."""
    if arguments not in ([], ["--live"], ["--ready"]):
        asked = arguments in (["--help"], ["-h"])
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    name = "live" if arguments == ["--live"] else "ready"
    port = os.environ.get(PORT) or DEFAULT_PORT
    if not port.isdecimal() or int(port) > 65535:
        print(f"tape: {PORT} is not a port ({port!r}): write a number up to 65535", file=sys.stderr)
        return 2
    try:
        status, body = _get(int(port), f"/health/{name}")
    except (OSError, ValueError) as error:
        print(f"nothing answers at 127.0.0.1:{port} ({error}): is the process up, with {PORT}={port}?")
        return 1
    if status == 200:
        print(f"{name}")
        return 0
    print(f"not {name}: {_missing(body)}")
    return 1


def _get(port: int, path: str) -> tuple[int, bytes]:
    import socket  # noqa: PLC0415 - a wrong call needs none

    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as line:
        line.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        answer = b""
        while chunk := line.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 3 or not words[1].isdigit():
        raise ValueError("not an HTTP answer")
    return int(words[1]), body


def _missing(body: bytes) -> str:
    import json  # noqa: PLC0415 - only where something is missing

    try:
        found = json.loads(body)["missing"]
        return "; ".join(f"{place} {words}" for place, words in found.items())
    except (ValueError, KeyError, AttributeError, TypeError):
        return repr(body[:200])
