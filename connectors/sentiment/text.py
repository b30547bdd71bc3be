"""A text as tokens, free of what belongs to its style: links, tickers, handles, case, a number's digits."""

import html
import re
import unicodedata
from typing import NamedTuple

from tapedeck.streams.stages.links.text import MAX_CHARS

_PLAIN = str.maketrans({"\u2019": "'", "\u2018": "'", "\u2013": "-", "\u2014": "-", "#": " ", "\0": " "})
_LINK = re.compile(r"(?:https?://|www\.)\S+|\b(?:pic\.twitter\.com|t\.co)/\S+")
_EXCHANGES = "nyse|nasdaq|nasdaqgs|nysearca|otcmkts|amex|tsx|tse|asx|lon|hel|epa|etr|bit|hkg|nse"
_LISTING = re.compile(rf"\(?\b(?:{_EXCHANGES})\s?:\s?[a-z0-9.\-]+\)?")
_HANDLE = re.compile(r"(?<![\w@])@\w+")
_CASHTAG = re.compile(r"\$[a-z][a-z.]{0,9}\b")
_TOKEN = re.compile(
    r"[^\W\d_]+(?:'[^\W\d_]+)*|[-+]?[$\u20ac\u00a3]?\d+(?:[.,:]\d+)*|[%!?;:$\u20ac\u00a3]"
    r"|[\u2600-\u27bf\U0001f300-\U0001faff]"
)
_NUMBER = re.compile(r"[-+]?[$\u20ac\u00a3]?(\d+(?:,\d{3})*(?:\.\d+)?)")
_SCALES = {
    **dict.fromkeys(("b", "bn", "bln", "billion"), 1e9),
    **dict.fromkeys(("m", "mn", "mln", "million"), 1e6),
    **dict.fromkeys(("k", "thousand"), 1e3),
}


class Number(NamedTuple):
    """A number's place among the tokens, and its size; None where it is no plain one, such as a time."""

    place: int
    size: float | None


class Tokens(NamedTuple):
    """The words of a text in order; a number is ``0``, ``+0`` or ``-0``."""

    words: list[str]
    numbers: list[Number]


def tokens_of(text: str) -> Tokens:
    """The tokens of the first MAX_CHARS characters. Whatever the text, this gives tokens or none."""
    plain = unicodedata.normalize("NFKC", html.unescape(text[:MAX_CHARS]))[:MAX_CHARS].lower()
    plain = plain.translate(_PLAIN)
    for style in (_LINK, _LISTING, _HANDLE, _CASHTAG):
        plain = style.sub(" ", plain)
    raw = _TOKEN.findall(plain)
    words, numbers = [], []
    for place, token in enumerate(raw):
        if any("0" <= char <= "9" for char in token):
            numbers.append(Number(place, _size(token, raw[place + 1] if place + 1 < len(raw) else "")))
            words.append(f"{token[0]}0" if token[0] in "+-" else "0")
        else:
            words.append(token)
    return Tokens(words, numbers)


def _size(token: str, unit: str) -> float | None:
    plain = _NUMBER.fullmatch(token)
    return float(plain[1].replace(",", "")) * _SCALES.get(unit, 1.0) if plain else None
