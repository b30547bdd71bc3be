"""Where a text names a symbol: cashtags, bare symbols, company names."""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from tapedeck.streams.stages.links.aliases import ALIASES, ORDINARY
from tapedeck.streams.stages.links.words import AMBIGUOUS, CASHTAG_ONLY

_CASHTAG = re.compile(r"(?<![\w$])\$([A-Za-z]{1,5})(\.[A-Za-z](?![^\W_]))?(?![^\W_])")
_BEHIND_BARE = r"(?![\w/&-])(?!'(?!s(?![^\W_])))"
_BARE = re.compile(rf"(?<![\w$@#/.'&-])([A-Z]{{2,5}})(\.[A-Z]{_BEHIND_BARE})?{_BEHIND_BARE}")
_WORD = re.compile(r"(?<![\w$])\w+")
_FIRST_WORD = re.compile(r"\w+")
_SPACE = re.compile(r"\s+")


class Kind(StrEnum):
    """How a text names a symbol."""

    ALIAS = "ALIAS"
    BARE = "BARE"
    CASHTAG = "CASHTAG"
    PROVIDER = "PROVIDER"


class LinkRule(StrEnum):
    """The rule that gave a match its base."""

    CASHTAG = "CASHTAG"
    LOWER_CASHTAG = "LOWER_CASHTAG"
    SYMBOL = "SYMBOL"
    AMBIGUOUS_WORD = "AMBIGUOUS_WORD"
    NAME = "NAME"
    ORDINARY_NAME = "ORDINARY_NAME"
    PROVIDER_TAG = "PROVIDER_TAG"


BASES = {
    LinkRule.CASHTAG: 0.95,
    LinkRule.LOWER_CASHTAG: 0.85,
    LinkRule.SYMBOL: 0.75,
    LinkRule.AMBIGUOUS_WORD: 0.35,
    LinkRule.NAME: 0.70,
    LinkRule.ORDINARY_NAME: 0.40,
    LinkRule.PROVIDER_TAG: 0.90,
}
"""What each rule is worth before its context is known."""


class Found(NamedTuple):
    """A place ``[start, end)`` of the text that names ``symbol``, before its context is known."""

    symbol: str
    start: int
    end: int
    kind: Kind
    rule: LinkRule


class _Name(NamedTuple):
    """A company's name: the parts between its spaces."""

    length: int
    parts: tuple[str, ...]
    symbol: str
    rule: LinkRule


def _names() -> dict[str, tuple[_Name, ...]]:
    """The names by their first word."""
    found: dict[str, list[_Name]] = {}
    for symbol, names in ALIASES.items():
        for name in names:
            first = _FIRST_WORD.match(name)
            assert first is not None
            rule = LinkRule.ORDINARY_NAME if name in ORDINARY else LinkRule.NAME
            found.setdefault(first[0], []).append(_Name(len(name), tuple(name.split()), symbol, rule))
    return {first: tuple(names) for first, names in found.items()}


_NAMES = _names()


def cashtags(text: str, assets: frozenset[str]) -> Iterator[Found]:
    """``$`` and a symbol; one lower-case letter is none."""
    for match in _CASHTAG.finditer(text):
        if len(match[1]) == 1 and match[1].islower():
            continue
        for end in _ends(match):
            written = text[match.start(1) : end]
            symbol = written.upper()
            if symbol in assets:
                rule = LinkRule.CASHTAG if written == symbol else LinkRule.LOWER_CASHTAG
                yield Found(symbol, match.start(), end, Kind.CASHTAG, rule)
                break


def bare(text: str, assets: frozenset[str]) -> Iterator[Found]:
    """Symbols in capitals without a mark."""
    for match in _BARE.finditer(text):
        for end in _ends(match):
            symbol = text[match.start() : end]
            if symbol in assets and symbol not in CASHTAG_ONLY:
                rule = LinkRule.AMBIGUOUS_WORD if symbol in AMBIGUOUS else LinkRule.SYMBOL
                yield Found(symbol, match.start(), end, Kind.BARE, rule)
                break


def _ends(match: re.Match[str]) -> tuple[int, ...]:
    """Where the symbol ends with its class, if it has one, and without: "MSFT.I" may be a missing space."""
    return (match.end(1),) if match[2] is None else (match.end(2), match.end(1))


def names(text: str, assets: frozenset[str], used: list[Found]) -> Iterator[Found]:
    """Company names on places that ``used`` and longer names leave free."""
    candidates = sorted(_named(text, assets), key=lambda each: (-each[0], each[1].start))
    if not candidates:
        return
    taken = bytearray(len(text))
    for each in used:
        taken[each.start : each.end] = b"\1" * (each.end - each.start)
    for _, found in candidates:
        if 1 not in taken[found.start : found.end]:
            taken[found.start : found.end] = b"\1" * (found.end - found.start)
            yield found


def _named(text: str, assets: frozenset[str]) -> Iterator[tuple[int, Found]]:
    """Every name that stands in the text, with its own length, whether or not others overlap it."""
    for word in _WORD.finditer(text):
        for name in _NAMES.get(word[0], ()):
            end = _end_of(text, word.start(), name) if name.symbol in assets else -1
            if end > 0:
                yield name.length, Found(name.symbol, word.start(), end, Kind.ALIAS, name.rule)


def _end_of(text: str, start: int, name: _Name) -> int:
    """Where ``name`` ends if it stands at ``start`` as whole words, else -1."""
    at = start
    for place, part in enumerate(name.parts):
        if place:
            space = _SPACE.match(text, at)
            if space is None:
                return -1
            at = space.end()
        if not text.startswith(part, at):
            return -1
        at += len(part)
    behind = text[at : at + 1]
    if behind == "_" or behind.isalnum():
        return -1
    # "Meta-analysis" and "Target-date" are other words; "Nvidia-backed" is still the company.
    return -1 if behind == "-" and name.rule is LinkRule.ORDINARY_NAME else at
