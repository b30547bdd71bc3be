"""Which symbols a text is about, and how sure that is. The rule is docs/domain.md#ticker-links."""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from tapedeck.streams.config.text_groups import Link as LinkConfig
from tapedeck.streams.stages.links.clean import cleaned, decoded
from tapedeck.streams.stages.links.context import Context
from tapedeck.streams.stages.links.matches import BASES, Found, Kind, LinkRule, bare, cashtags, names

FURTHER_KIND = 0.05
"""What each further kind of match adds to a symbol's best one."""
HIGHEST = 0.99
PLACES = 2

_Span = Callable[[int, int], tuple[int, int]]
"""Where a span of the text that is read stands in the text as it was given."""
_WEAK = (LinkRule.AMBIGUOUS_WORD, LinkRule.ORDINARY_NAME)


class Effect(StrEnum):
    """What the text around a match changed."""

    CUE = "CUE"
    SHOUTING = "SHOUTING"
    NEGATIVE_PHRASE = "NEGATIVE_PHRASE"


class Match(NamedTuple):
    """One place that names a symbol.

    ``start`` and ``end`` count the characters of the text as it was given, end excluded; both are None for a
    provider's tag. ``effects`` are what the text around it changed. Confidence is 0 to 0.99.
    """

    start: int | None
    end: int | None
    kind: Kind
    rule: LinkRule
    effects: tuple[Effect, ...]
    confidence: float


class Link(NamedTuple):
    """A symbol, the confidence from all its matches, their kinds by name, and the matches as they stand."""

    symbol: str
    confidence: float
    kinds: tuple[Kind, ...]
    matches: tuple[Match, ...]


class Linked(NamedTuple):
    """Links by confidence, highest first, then by symbol; ``below`` has those under the threshold, likewise.

    ``list_post``: it names so many symbols that it says nothing of any.
    """

    links: tuple[Link, ...]
    below: tuple[Link, ...]
    list_post: bool


def link(text: str, *, provider: Sequence[str] | None, assets: frozenset[str], config: LinkConfig) -> Linked:
    """The symbols that ``text`` names.

    ``provider``: the symbols that the source put on the text, None where it has no tags. ``assets``: the
    symbols that there are; no other is linked. Takes time linear in the text.
    """
    by_symbol: dict[str, list[Match]] = {}
    plain = decoded(text)
    for symbol, match in _matches(cleaned(plain.text), assets, config, plain.span):
        by_symbol.setdefault(symbol, []).append(match)
    tag = Match(None, None, Kind.PROVIDER, LinkRule.PROVIDER_TAG, (), BASES[LinkRule.PROVIDER_TAG])
    for symbol in dict.fromkeys(each.strip().upper() for each in provider or ()):
        if symbol in assets:
            by_symbol.setdefault(symbol, []).append(tag)
    found = sorted(
        (_link(symbol, matches) for symbol, matches in by_symbol.items()),
        key=lambda each: (-each.confidence, each.symbol),
    )
    links = tuple(each for each in found if each.confidence >= config.min_confidence)
    return Linked(links, tuple(found[len(links) :]), len(links) > config.list_post)


def _matches(
    text: str, assets: frozenset[str], config: LinkConfig, span: _Span
) -> Iterator[tuple[str, Match]]:
    context = Context(text, config.window_tokens)
    marked = [*cashtags(text, assets), *bare(text, assets)]
    for found in sorted([*marked, *names(text, assets, marked)], key=lambda each: each.start):
        yield found.symbol, _judged(found, context, config, span)


def _judged(found: Found, context: Context, config: LinkConfig, span: _Span) -> Match:
    """The match with what its context adds and takes. A cashtag has none."""
    effects = list[Effect]()
    confidence = BASES[found.rule]
    if found.kind is not Kind.CASHTAG:
        if context.has_cue(found.start, found.end, strong=found.rule in _WEAK):
            effects.append(Effect.CUE)
            confidence += config.cue_bonus
        if found.kind is Kind.BARE and context.shouts:
            effects.append(Effect.SHOUTING)
            confidence -= config.shout_penalty
        if context.has_negative(found.symbol):
            effects.append(Effect.NEGATIVE_PHRASE)
            confidence -= config.negative_penalty
    start, end = span(found.start, found.end)
    return Match(start, end, found.kind, found.rule, tuple(effects), _limited(confidence))


def _link(symbol: str, matches: list[Match]) -> Link:
    kinds = tuple(sorted({match.kind for match in matches}))
    best = max(match.confidence for match in matches)
    return Link(symbol, _limited(best + FURTHER_KIND * (len(kinds) - 1)), kinds, tuple(matches))


def _limited(confidence: float) -> float:
    """Within 0 to 0.99, at 2 decimals."""
    return max(0.0, min(HIGHEST, round(confidence, PLACES)))
