"""What stands around a match: cues, shouting, phrases that give a word another meaning."""

import re
from bisect import bisect_left, bisect_right
from functools import cached_property
from typing import NamedTuple

from tapedeck.streams.stages.links.words import CUES, NEGATIVE, SHOUT_LETTERS, SHOUT_TENTHS, STRONG_CUES

_INSIDE = r"[^\s,;:()\[\]{}\"\u201c\u201d|/\u2026\u2014\u2013!?]++"
# A token runs to a space or to a mark that parts words; a comma or a colon inside a number does not part it.
_TOKEN = re.compile(rf"{_INSIDE}(?:(?<=\d)[,:](?=\d){_INSIDE})*+")
_WORDLIKE = re.compile(r"[^\W_]")
_EDGES = ".'`\u2018*_~#+-=<>&\u2212\u00b1"
_STRIKE = re.compile(r"\$?\d[\d,]*+(?:\.\d++)?[cp]")
_PERCENT = re.compile(r"\d[\d,.]*+(?:-\d[\d,.]*+)?%")


class _Tokens(NamedTuple):
    """Where each token starts and ends, the numbers of the cues among them, and all words in one line."""

    starts: list[int]
    ends: list[int]
    cues: list[int]
    strong_cues: list[int]
    words: str


class Context:
    """A cleaned text, read for what it says around a match. Each part is read when it is first asked for."""

    def __init__(self, text: str, window: int) -> None:
        self._text = text
        self._window = window
        self._negative: dict[str, bool] = {}

    def has_cue(self, start: int, end: int, *, strong: bool) -> bool:
        """Whether a cue is within the window of tokens before ``start`` or behind ``end``.

        ``strong``: only a strong cue counts.
        """
        tokens = self._tokens
        first, last = bisect_right(tokens.ends, start), bisect_left(tokens.starts, end) - 1
        places = tokens.strong_cues if strong else tokens.cues
        before, behind = bisect_left(places, first - self._window), bisect_right(places, last)
        return (before < len(places) and places[before] < first) or (
            behind < len(places) and places[behind] <= last + self._window
        )

    def has_negative(self, symbol: str) -> bool:
        """Whether a phrase of the text gives the words of ``symbol`` another meaning."""
        if symbol not in self._negative:
            words = self._tokens.words
            self._negative[symbol] = any(f" {phrase} " in words for phrase in NEGATIVE.get(symbol, ()))
        return self._negative[symbol]

    @cached_property
    def shouts(self) -> bool:
        """Whether the text is written in capitals."""
        letters = [letter for letter in self._text if letter.isalpha()]
        if len(letters) < SHOUT_LETTERS:
            return False
        return 10 * sum(map(str.isupper, letters)) >= SHOUT_TENTHS * len(letters)

    @cached_property
    def _tokens(self) -> _Tokens:
        starts, ends, words = list[int](), list[int](), list[str]()
        cues, strong_cues = list[int](), list[int]()
        for token in _TOKEN.finditer(self._text):
            word = token[0].lower().strip(_EDGES).removesuffix("'s")
            if _WORDLIKE.search(word) is None:
                continue
            if (is_figure := _is_figure(word)) or word in CUES:
                cues.append(len(starts))
                if is_figure or word in STRONG_CUES:
                    strong_cues.append(len(starts))
            starts.append(token.start())
            ends.append(token.end())
            words.append(word)
        return _Tokens(starts, ends, cues, strong_cues, f" {' '.join(words)} ")


def _is_figure(word: str) -> bool:
    """Whether it is a strike, as 150c and $12.5p, or a percentage, as 12%."""
    if word.endswith("%"):
        return _PERCENT.fullmatch(word) is not None
    return word.endswith(("c", "p")) and _STRIKE.fullmatch(word) is not None
