"""Seeded changes to messages of JSON."""

import json
import random
from typing import Any


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """One to four changes of bytes: flipped, cut out, doubled, or another JSON word put in."""
    changed = bytearray(raw)
    words = [b"null", b"NaN", b"-1", b"1e999", b'"\\ud800"', b"[]", b"{}", b"true", b'"', b",", b"\xff"]
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.randint(1, 8))
        changed[at:end] = rng.choice([b"", bytes(changed[at:end]) * 2, rng.choice(words), rng.randbytes(2)])
    return bytes(changed)


def reworded(message: dict[str, Any], rng: random.Random) -> bytes:
    """Valid JSON with one value of another kind."""
    name = rng.choice(sorted(message))
    other = rng.choice(
        [None, -1, 1e300, "", "x" * 5000, [], {}, [message], {"T": "b"}, True, "2026-13-01T00:00Z"]
    )
    return json.dumps([{**message, name: other}]).encode()
