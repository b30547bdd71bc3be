"""A text without what is no prose: markup, addresses, handles. Positions stay those of the original."""

import html
import re
from collections.abc import Sequence
from re import Match, Pattern
from typing import NamedTuple

# Quantifiers are possessive and each run is entered at its beginning only, so that no text takes more than
# linear time.
_MARKDOWN = re.compile(r'\[([^\[\]]*+)\]\((?:[^\s()]++|\([^\s()]*+\))*+(?:\s++"[^"]*+")?\s*+\)')
_TAG = re.compile(r"<(?:/?[A-Za-z][A-Za-z0-9:-]*+(?=[\s/>])|[!?])[^<>]*+>")
_URL = re.compile(r'(?:(?i:https?://|ftp://)|(?<![A-Za-z0-9.-])(?:[A-Za-z0-9-]++\.)++[a-z]{2,24}/)[^\s<>"]*+')
_WWW = re.compile(r'(?<!\w)(?i:www)\.[^\s<>"]++')
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]++@[\w-]++(?:\.[\w-]++)++")
_HANDLE = re.compile(r"(?<![\w@])@\w++")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")

_REMOVED: tuple[tuple[str, Pattern[str]], ...] = (
    ("<", _TAG),
    ("/", _URL),
    (".", _WWW),
    ("@", _EMAIL),
    ("@", _HANDLE),
)
"""What must be in a text for the pattern to be worth a search."""


class Decoded(NamedTuple):
    """A text without HTML entities, and where each of its characters and its end stood in the original.

    ``places`` is None where the original has no entity: all stand where they stood.
    """

    text: str
    places: Sequence[int] | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where ``[start, end)`` of this text stands in the original."""
        return (start, end) if self.places is None else (self.places[start], self.places[end])


def decoded(text: str) -> Decoded:
    """``text`` with its HTML entities as characters: a source may have encoded them once more than needed.

    A tag that stands between them is blanked before, one that comes out of them is left to ``cleaned``.
    """
    if "&" not in text or _ENTITY.search(text) is None:
        return Decoded(text, None)
    found = _TAG.sub(_blank, text)
    parts, places, at = list[str](), list[int](), 0
    for match in _ENTITY.finditer(found):
        sign = html.unescape(match[0])
        if sign.endswith(";") and len(sign) > 1:  # no entity, or one that needs no ";" and more behind it
            continue
        parts += (found[at : match.start()], sign)
        places += (*range(at, match.start()), *[match.start()] * len(sign))
        at = match.end()
    parts.append(found[at:])
    places += range(at, len(found) + 1)
    return Decoded("".join(parts), places)


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
