"""A text without what is no prose: markup, addresses, handles. Positions stay those of the original."""

import re
from re import Match, Pattern

# Quantifiers are possessive and each run is entered at its beginning only, so that no text takes more than
# linear time.
_MARKDOWN = re.compile(r'\[([^\[\]]*+)\]\((?:[^\s()]++|\([^\s()]*+\))*+(?:\s++"[^"]*+")?\s*+\)')
_TAG = re.compile(r"<(?:/?[A-Za-z][A-Za-z0-9:-]*+(?=[\s/>])|[!?])[^<>]*+>")
_URL = re.compile(r'(?:(?i:https?://|ftp://)|(?<![A-Za-z0-9.-])(?:[A-Za-z0-9-]++\.)++[a-z]{2,24}/)[^\s<>"]*+')
_WWW = re.compile(r'(?<!\w)(?i:www)\.[^\s<>"]++')
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]++@[\w-]++(?:\.[\w-]++)++")
_HANDLE = re.compile(r"(?<![\w@])@\w++")

_REMOVED: tuple[tuple[str, Pattern[str]], ...] = (
    ("<", _TAG),
    ("/", _URL),
    (".", _WWW),
    ("@", _EMAIL),
    ("@", _HANDLE),
)
"""What must be in a text for the pattern to be worth a search."""


def cleaned(text: str) -> str:
    """``text`` with spaces where markup, URLs, e-mail addresses and @handles stood; of the same length.

    A markdown link keeps its label. Typographic apostrophes and hyphens become plain ones.
    """
    found = text.replace("\u2019", "'").replace("\u2011", "-").replace("\u2010", "-")
    if "](" in found:
        found = _MARKDOWN.sub(_label, found)
    for sign, pattern in _REMOVED:
        if sign in found:
            found = pattern.sub(_blank, found)
    return found


def _blank(match: Match[str]) -> str:
    return " " * len(match[0])


def _label(match: Match[str]) -> str:
    return f" {match[1]}".ljust(len(match[0]))
