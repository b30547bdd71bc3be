"""Canonical links: one spelling per page."""

import re
from urllib.parse import urlsplit, urlunsplit

URL_LIMIT = 2_048
_TRACKING = re.compile(r"utm_.*|fbclid|gclid", re.IGNORECASE | re.DOTALL)
_SCHEMES = ("http", "https")
_UNSAFE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff<>\"\\^`{|}]")


def canonical(link: str) -> str | None:
    """``link`` with scheme and host in lower case, without fragment, tracking and trailing slash.

    None for what is no web address, or is longer than ``URL_LIMIT``.
    """
    link = link.strip()
    if len(link) > URL_LIMIT or _UNSAFE.search(link):
        return None
    try:
        parts = urlsplit(link)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in _SCHEMES or not host:
        return None
    query = "&".join(
        each for each in parts.query.split("&") if each and not _TRACKING.fullmatch(each.partition("=")[0])
    )
    netloc = _lower_host(parts.netloc)
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), query, ""))


def _lower_host(netloc: str) -> str:
    login, at, host = netloc.rpartition("@")
    return f"{login}{at}{host.lower()}"
