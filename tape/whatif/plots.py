"""Plots of a diff as inline SVG. They use the page's colors, for light and dark mode."""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.telling import new_york
from tapedeck.tape.whatif.diff import Diff, Difference, Part, Standing
from tapedeck.tape.whatif.outcomes import Kind, ProposalOutcome

_WIDTH, _LEFT, _RIGHT = 960, 150, 40
_LONGEST = 44
"""Characters of a name next to its bar. Longer names are cut; the tables have them in full."""
_ROW, _TOP, _BOTTOM = 22, 10, 30
_TICKS = 6
_RANK = {Kind.ADDED: "added", Kind.REMOVED: "removed", Kind.CHANGED: "changed"}


def timeline(diff: Diff) -> str:
    """When decisions differ: a row per part and kind, a bar per time span with the count as height."""
    rows = [
        (part, kind) for part in Part for kind in Kind if any(d.kind is kind for d in diff.of(part))
    ]  # fmt: skip
    times = [each.at for each in diff.differences]
    if not times:
        return ""
    first, last = min(times), max(times)
    bins = 120
    step = max(MINUTE_US, -(-(last - first + 1) // bins))
    height = _TOP + 2 * _ROW * len(rows) + _BOTTOM
    inner = _WIDTH - _LEFT - _RIGHT
    unit = inner / bins
    shapes = []
    for place, (part, kind) in enumerate(rows):
        base = _TOP + 2 * _ROW * (place + 1) - 4
        mine = [each for each in diff.of(part) if each.kind is kind]
        shapes.append(_text(_LEFT - 8, base - 8, f"{part.lower()} {_RANK[kind]}", "end"))
        shapes.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{base}" y2="{base}"/>')
        counts = Counter(((each.at - first) // step, each.standing) for each in mine)
        most = max(Counter((each.at - first) // step for each in mine).values())
        for at in sorted({at for at, _ in counts}):
            y = float(base)
            for standing in Standing:
                tall = counts[at, standing] / most * (2 * _ROW - 10)
                if tall:
                    y -= tall
                    when = new_york(first + at * step)[5:16]
                    title = f"{when}: {counts[at, standing]} {standing.lower()}"
                    shapes.append(_bar(_LEFT + at * unit, y, max(unit - 1, 2), tall, standing, title))
    for tick in range(_TICKS + 1):
        at = first + tick * step * bins // _TICKS
        shapes.append(_text(_LEFT + tick * inner / _TICKS, height - 10, new_york(at)[5:16], "middle"))
    return _svg(height, shapes, "Differences over time")


def parameters(diff: Diff) -> str:
    """How many differences each parameter caused, directly and by consequence."""
    rows = diff.by_parameter
    most = max((direct + after for _, direct, after in rows), default=0)
    if not most:
        return ""
    left = _LEFT + 140
    inner = _WIDTH - left - 90
    shapes = []
    for place, (name, direct, after) in enumerate(rows):
        y = _TOP + place * _ROW
        shown = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        shapes.append(_text(left - 8, y + 14, shown, "end"))
        wide = direct / most * inner
        shapes.append(_bar(left, y, wide, _ROW - 6, Standing.DIRECT, f"{direct} direct"))
        more = after / most * inner
        shapes.append(_bar(left + wide, y, more, _ROW - 6, Standing.CONSEQUENCE, f"{after} consequences"))
        shapes.append(_text(left + wide + more + 6, y + 14, f"{direct} + {after}", "start"))
    return _svg(_TOP + len(rows) * _ROW + _TOP, shapes, "Differences by parameter")


def moves(differences: Sequence[Difference], rows: int = 12) -> str:
    """The most frequent changes from one outcome to another, as bars."""
    found = Counter((each.part, _name(each, was=True), _name(each, was=False)) for each in differences)
    top = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:rows]
    if not top:
        return ""
    left = _LEFT + 400
    inner = _WIDTH - left - 60
    shapes = []
    for place, ((part, was, now), count) in enumerate(top):
        y = _TOP + place * _ROW
        wide = count / top[0][1] * inner
        label = f"{part.lower()}  {was} → {now}"
        shapes.append(_text(left - 8, y + 14, label, "end"))
        shapes.append(f'<rect class="move" x="{left}" y="{y}" width="{wide:.1f}" height="{_ROW - 6}"/>')
        shapes.append(_text(left + wide + 6, y + 14, str(count), "start"))
    return _svg(_TOP + len(top) * _ROW + _TOP, shapes, "From what to what")


def _name(each: Difference, *, was: bool) -> str:
    outcome = each.was if was else each.now
    if outcome is None:
        return "none"
    if isinstance(outcome, ProposalOutcome):
        return outcome.verdict if outcome.acts else outcome.primary_reason
    return outcome.reason


def _svg(height: int, shapes: Iterable[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(shapes)}</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _bar(x: float, y: float, wide: float, tall: float, standing: Standing, title: str) -> str:  # noqa: PLR0917 - a rectangle
    return (
        f'<rect class="{standing.lower()}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}">'
        f"<title>{escape(title)}</title></rect>"
    )
