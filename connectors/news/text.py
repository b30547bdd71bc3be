"""Fetched text made plain: no markup, no control characters, bounded. Text is data, never instructions."""

import html
import re
from typing import NamedTuple

_RAW_LIMIT = 262_144
"""Characters of markup that are read; what follows is cut before any other work."""

_BLOCKS = (
    "address article aside blockquote br caption dd div dl dt figcaption figure footer form h1 h2 h3 h4 h5 "
    "h6 head header hr li main nav ol option p pre section table tbody td tfoot th thead title tr ul"
)
_DROPPED = "script style template iframe object noscript svg"
_INLINE = (
    "a abbr acronym applet area audio b base basefont bdi bdo big body button canvas center cite code col "
    "colgroup data datalist del details dfn dialog dir em embed fieldset font frame frameset html i img "
    "input ins kbd label legend link map mark meta meter noframes optgroup output param picture progress q "
    "rp rt ruby s samp select small source span strike strong sub summary sup textarea time track tt u var "
    "video wbr"
)
_SEPARATING = frozenset(_BLOCKS.split())
"""Elements that separate words."""
_WITHOUT_TEXT = frozenset(_DROPPED.split())
"""Elements whose content is no text."""
_KNOWN = _SEPARATING | _WITHOUT_TEXT | frozenset(_INLINE.split())
_OPENING = re.compile(r"<(?=[A-Za-z/!?])")
_NAME = re.compile(r"</?([A-Za-z][A-Za-z0-9:_-]*)")
_ENDS = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in _WITHOUT_TEXT}

_UNWANTED = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
)
"""Control characters, and those that hide text or turn its direction."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_CHARACTER = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{7,});?")
"""References beyond Unicode; the decoder would read their digits, however many, as a number."""
_ELLIPSIS = "\u2026"


class Plain(NamedTuple):
    """Text on one line; ``is_cut``: more of it was sent than is kept."""

    text: str
    is_cut: bool


def plain(markup: str, limit: int) -> Plain:
    """The text of HTML, or of plain text, in at most ``limit`` characters.

    Takes time in proportion to its input. Markup that was escaped twice is removed as well.
    """
    raw = markup[:_RAW_LIMIT]
    text = html.unescape(_NO_CHARACTER.sub("\ufffd", _without_tags(raw, known_only=False)))
    text = one_line(_without_tags(text, known_only=True))
    is_cut = len(markup) > _RAW_LIMIT or len(text) > limit
    if len(text) > limit:
        text = text[: limit - 1].rstrip() + _ELLIPSIS
    return Plain(text, is_cut)


def one_line(text: str) -> str:
    """``text`` without control characters, and with single spaces; it can be encoded as UTF-8."""
    return " ".join(_SURROGATE.sub("\ufffd", _UNWANTED.sub("", text)).split())


def _without_tags(markup: str, *, known_only: bool) -> str:
    """``markup`` without tags and comments; a block's tag leaves a space.

    ``known_only`` removes HTML's own elements alone: in decoded text "<" may mean less than.
    """
    if "<" not in markup:
        return markup
    kept: list[str] = []
    at = 0
    while (found := _OPENING.search(markup, at)) is not None:
        start = found.start()
        named = _NAME.match(markup, start)
        name = named[1].lower() if named else ""
        if known_only and name not in _KNOWN:
            kept.append(markup[at : start + 1])
            at = start + 1
            continue
        kept.append(markup[at:start])
        end = _end_of(markup, start, name)
        if end is None:
            # Nothing closes it: a comment swallows the rest, as in a browser; anything else is text.
            return "".join(kept) + ("" if _swallows(markup, start, name) else markup[start:])
        if name in _SEPARATING or name in _WITHOUT_TEXT:
            kept.append(" ")
        at = end
    return "".join((*kept, markup[at:]))


def _swallows(markup: str, start: int, name: str) -> bool:
    return markup.startswith("<!--", start) or (name in _WITHOUT_TEXT and markup[start + 1] != "/")


def _end_of(markup: str, start: int, name: str) -> int | None:
    """Where the tag, comment or dropped element that begins at ``start`` ends; None if nothing closes it."""
    if markup.startswith("<!--", start):
        return _after(markup, "-->", start + 4)
    if markup.startswith("<![CDATA[", start):
        return start + 9  # its content is text; the closing brackets stay, which no feed shows
    end = _after(markup, ">", start)
    if end is None or name not in _WITHOUT_TEXT or markup[start + 1] == "/" or markup[end - 2] == "/":
        return end
    closing = _ENDS[name].search(markup, end)
    return None if closing is None else _after(markup, ">", closing.start())


def _after(markup: str, what: str, start: int) -> int | None:
    found = markup.find(what, start)
    return None if found < 0 else found + len(what)
