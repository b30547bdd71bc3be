"""Event ids and the rules version, which make the same input give the same event."""

from collections.abc import Iterable
from hashlib import sha256

RULES_VERSION = "rules-1"


def event_id(
    record_type: str,
    natural_key: Iterable[object],
    *,
    revision: int = 0,
    config_digest: str = "",
    inputs: Iterable[str] = (),
) -> str:
    """First 32 hex digits of SHA-256 over ``type|natural key|revision|rules|config|inputs``.

    Source facts leave ``config_digest`` and ``inputs`` out: they are ``type|natural key|revision``.
    """
    natural = "|".join(map(str, natural_key))
    text = f"{record_type}|{natural}|{revision}"
    if config_digest:
        text += f"|{RULES_VERSION}|{config_digest}|{','.join(inputs)}"
    return sha256(text.encode()).hexdigest()[:32]


def signal_id(symbol: str, bar_t_iso: str, stage: str = "") -> str:
    """``sg_`` + first 24 hex of SHA-256 over ``symbol|bar t|rules_version`` (bar t as ISO 8601 with Z).

    A stage of a user's own adds its name: an account takes one signal of each id, so that two rules that act
    on one bar need ids of their own.
    """
    text = f"{symbol}|{bar_t_iso}|{RULES_VERSION}" + (f"|{stage}" if stage else "")
    return "sg_" + sha256(text.encode()).hexdigest()[:24]
