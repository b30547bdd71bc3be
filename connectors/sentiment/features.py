"""What the light model sees of a text: hashed word n-grams, character n-grams and classes of words.

The classes carry to texts of another style what words and characters alone would have to see in training:
that profit *fell* and losses *rose* are bad, and a rise *from* 8 *to* 14 is one.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from tapedeck.connectors.sentiment import words
from tapedeck.connectors.sentiment.text import Number, Tokens

Ints = npt.NDArray[np.int64]

BITS = (18, 17, 15)
"""Buckets of each block, as a power of 2: word n-grams, character n-grams, classes."""
STARTS = (0, 1 << 18, (1 << 18) + (1 << 17), (1 << 18) + (1 << 17) + (1 << 15))
"""Where each block's buckets start, and where the last one's end."""
CHAR_SIZES = (3, 4, 5)
VERSION = 1
"""Counted up where the same text gets other features: a model is read with its own version alone."""

_REACH = 3  # tokens after a negation in which a word means the opposite
_NEAR, _FAR = 3, 10  # tokens between two words that are taken together
_LINKS = frozenset({"from", "vs", "versus", "against", "compared", "than", "to"})
_GOOD, _BAD = frozenset({"pos", "up", "!neg", "!down"}), frozenset({"neg", "down", "!pos", "!up"})
_FIRST, _LAST = "<s>", "</s>"  # no token is like them; they stand before and after the words of a text
_CACHED = 100_000
_NONE = np.empty(0, np.int64)
_ODD = tuple(np.uint64(each) for each in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


class Found(NamedTuple):
    """The features of some texts: ``text`` and ``bucket`` of each, each once, by both."""

    text: Ints
    bucket: Ints


class Classed(NamedTuple):
    """A word of the list where it stands; ``!`` before its class where it is negated."""

    place: int
    kind: str
    word: str


class _Word(NamedTuple):
    plain: int
    short: int  # of its class, where it has one
    classed: bool
    chars: Ints


def features_of(texts: Sequence[Tokens]) -> Found:
    """The features of each text; one counts once however often it is met."""
    known = [[_word(word) for word in (_FIRST, *each.words, _LAST)] for each in texts]
    chars = [word.chars for each in known for word in each]
    classes = [list(_class_buckets(each)) for each in texts]
    parts = [
        _word_grams(known),
        (_numbered(sum(len(word.chars) for word in each) for each in known), np.concatenate([_NONE, *chars])),
        (_numbered(map(len, classes)), np.array([key for each in classes for key in each], np.int64)),
    ]
    keys = np.sort(np.concatenate([text * STARTS[-1] + bucket for text, bucket in parts]))
    once = keys[np.diff(keys, prepend=-1) != 0]  # np.unique takes twenty times as long
    return Found(once // STARTS[-1], once % STARTS[-1])


def _numbered(sizes: Iterable[int]) -> Ints:
    """The number of each text, as often as it has features."""
    counts = list(sizes)
    return np.repeat(np.arange(len(counts)), counts)


@lru_cache(maxsize=_CACHED)
def _word(word: str) -> _Word:
    kind = words.classes().get(word)
    padded, mask = f" {word} ", (1 << BITS[1]) - 1
    grams = [padded[at : at + size] for size in CHAR_SIZES for at in range(len(padded) - size + 1)]
    if word in (_FIRST, _LAST):
        grams = []
    chars = np.array([STARTS[1] + (crc32(gram.encode()) & mask) for gram in grams], np.int64)
    plain = crc32(word.encode())
    return _Word(plain, crc32(f"<{kind}>".encode()) if kind else plain, kind is not None, chars)


def _word_grams(known: list[list[_Word]]) -> tuple[Ints, Ints]:
    """One to three words, two with a gap, and the same with classes in the place of words."""
    flat = [word for each in known for word in each]
    text = _numbered(map(len, known))
    plain = np.array([word.plain for word in flat], np.uint64)
    short = np.array([word.short for word in flat], np.uint64)
    classed = np.array([word.classed for word in flat], bool)
    found = [(text, _bucket(plain, 0))]
    for salt, line, wanted in ((1, plain, np.ones(len(flat), bool)), (4, short, classed)):
        one, two, three = line[:-1] * _ODD[0], line[1:] * _ODD[1], line[2:] * _ODD[2]
        pair = (text[:-1] == text[1:]) & (wanted[:-1] | wanted[1:])
        within, ends = text[:-2] == text[2:], wanted[:-2] | wanted[2:]
        gap, all_three = within & ends, within & (ends | wanted[1:-1])
        found += [
            (text[:-1][pair], _bucket((one + two)[pair], salt)),
            (text[:-2][gap], _bucket((one[:-1] + three)[gap], salt + 1)),
            (text[:-2][all_three], _bucket((one[:-1] + two[:-1] + three)[all_three], salt + 2)),
        ]
    return np.concatenate([each for each, _ in found]), np.concatenate([each for _, each in found])


def _bucket(keys: npt.NDArray[np.uint64], salt: int) -> Ints:
    """The word block's bucket of each key: the upper bits of a product, which depend on all of it."""
    mixed = (keys + np.uint64(salt)) * _ODD[0]
    mixed = (mixed ^ (mixed >> np.uint64(32))) * _ODD[1]
    return (mixed >> np.uint64(64 - BITS[0])).astype(np.int64)


@lru_cache(maxsize=_CACHED)
def _class_bucket(key: str) -> int:
    return STARTS[2] + (crc32(key.encode()) & ((1 << BITS[2]) - 1))


def _class_buckets(tokens: Tokens) -> Iterator[int]:
    classed = list(_classed(tokens.words))
    yield from map(_class_bucket, _class_grams(classed))
    yield from map(_class_bucket, _comparisons(tokens, classed))


def _classed(given: list[str]) -> Iterator[Classed]:
    """The words and pairs of words of the list, with negation."""
    kinds = words.classes()
    negated, taken = -_REACH - 1, -1
    for place, word in enumerate(given):
        if place <= taken:
            continue
        told, kind = word, kinds.get(word)
        if word in words.openings() and place + 1 < len(given):
            pair = f"{word} {given[place + 1]}"
            if pair in kinds:
                told, kind, taken = pair, kinds[pair], place + 1
        if kind == "not" or word.endswith("n't"):
            negated = place
        elif kind:
            yield Classed(place, f"!{kind}" if place - negated <= _REACH else kind, told)


def _class_grams(classed: list[Classed]) -> Iterator[str]:
    good = sum(each.kind in _GOOD for each in classed)
    bad = sum(each.kind in _BAD for each in classed)
    yield f"both {min(good, 3)} {min(bad, 3)}"
    yield f"sum {max(-2, min(2, good - bad))}"
    if classed:
        yield f"first {classed[0].kind}"
        yield f"last {classed[-1].kind}"
    for each in classed:
        yield each.kind
    paired = [each for each in classed if each.kind.lstrip("!") != "plan"]
    for at, one in enumerate(paired):
        for two in paired[at + 1 : at + 4]:
            apart = two.place - one.place
            if apart > _FAR:
                break
            yield f"{one.kind} {two.kind} {'near' if apart <= _NEAR else 'far'}"
            yield f"{one.word} {two.kind}"
            yield f"{one.kind} {two.word}"


def _comparisons(tokens: Tokens, classed: list[Classed]) -> Iterator[str]:
    """Whether a first number is above the second that it is compared with, and what of."""
    for one, two in zip(tokens.numbers, tokens.numbers[1:], strict=False):
        if one.size is None or two.size is None or two.place - one.place > _FAR:
            continue
        link = next((word for word in tokens.words[one.place + 1 : two.place] if word in _LINKS), None)
        if link is None:
            continue
        rise = (one.size > two.size) - (one.size < two.size)
        rise = -rise if link == "to" else rise
        what = _compared(one, classed)
        yield f"rise {rise}"
        yield f"rise {rise} {what}"
        yield f"rise {rise} {what} {link}"


def _compared(number: Number, classed: list[Classed]) -> str:
    """What the number is of: the last good or bad thing before it."""
    before = (each.kind for each in reversed(classed) if each.place < number.place)
    return next((kind for kind in before if kind in ("good", "bad")), "thing")
