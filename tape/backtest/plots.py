"""Plots of a backtest as inline SVG, in the page's colors."""

from collections.abc import Iterable, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

_WIDTH, _HEIGHT = 1080, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 92, 20, 16, 34
_TICKS = 5
_DATES = 7
_MOST = 1500
"""Points of one line: more than the screen shows."""


class Line(NamedTuple):
    """A line of (x, y) under a name; its color is that of its number."""

    name: str
    points: Sequence[tuple[float, float]]
    number: int


class _Scale(NamedTuple):
    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low or 1.0)
        return self.start + share * (self.end - self.start)


def lines(
    title: str, found: Sequence[Line], labels: Sequence[str], *, unit: str = "", area: bool = False
) -> str:
    """Lines over the places of ``labels``, which name some of the x values (0, 1, 2 ...).

    ``area``: fill to zero. Without a point, nothing.
    """
    every = [point for line in found for point in line.points]
    if not every:
        return ""
    ys = [y for _, y in every]
    low, high = (min(0.0, *ys), max(0.0, *ys)) if area else (min(ys), max(ys))
    pad = 0.05 * (high - low) or abs(high) * 0.01 or 1.0
    ticks = _ticks(low if area and low == 0 else low - pad, high if area and high == 0 else high + pad)
    y = _Scale(ticks[0], ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    x = _Scale(min(at for at, _ in every), max(at for at, _ in every), _LEFT, _WIDTH - _RIGHT)
    shapes = [*_grid(y, ticks, unit), *_dates(x, labels)]
    for line in found:
        points = _thin(line.points)
        path = " ".join(f"{x.at(px):.1f},{y.at(py):.1f}" for px, py in points)
        if area and points:
            first, last, zero = x.at(points[0][0]), x.at(points[-1][0]), y.at(0.0)
            edge = f"{first:.1f},{zero:.1f} {path} {last:.1f},{zero:.1f}"
            shapes.append(f'<polygon class="area c{line.number}" points="{edge}"/>')
        named = f"<title>{escape(line.name)}</title>"
        shapes.append(f'<polyline class="line c{line.number}" points="{path}">{named}</polyline>')
    return _svg(title, _HEIGHT, shapes)


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars (name, value, told), left of zero for losses."""
    if not rows:
        return ""
    left, row = 300, 24
    inner = _WIDTH - left - 150
    low, high = min(0.0, *(value for _, value, _ in rows)), max(0.0, *(value for _, value, _ in rows))
    x = _Scale(low, high or low + 1.0, left + (110 if low < 0 else 0), left + inner)
    height = 12 + row * len(rows) + 8
    shapes = [f'<line class="axis" x1="{x.at(0):.1f}" x2="{x.at(0):.1f}" y1="6" y2="{height - 6}"/>']
    for place, (name, value, told) in enumerate(rows):
        y, zero, end = 10 + place * row, x.at(0.0), x.at(value)
        shapes.append(_text(left - 10, y + 14, name, "end"))
        kind = "won" if value >= 0 else "lost"
        shapes.append(
            f'<rect class="{kind}" x="{min(zero, end):.1f}" y="{y}" width="{max(abs(end - zero), 1):.1f}" '
            f'height="{row - 6}"><title>{escape(f"{name}: {told}")}</title></rect>'
        )
        beside = (max(zero, end) + 6, "start") if value >= 0 else (min(zero, end) - 6, "end")
        shapes.append(_text(beside[0], y + 14, told, beside[1]))
    return _svg(title, height, shapes)


def columns(title: str, values: Sequence[float], labels: Sequence[str], *, unit: str = "") -> str:
    """One column per place, won and lost ones apart."""
    if not values:
        return ""
    ticks = _ticks(min(0.0, *values), max(0.0, *values))
    y = _Scale(ticks[0], ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    x = _Scale(-0.5, len(values) - 0.5, _LEFT, _WIDTH - _RIGHT)
    wide = max(1.0, min(28.0, 0.8 * (_WIDTH - _LEFT - _RIGHT) / len(values)))
    shapes = [*_grid(y, ticks, unit), *_dates(x, labels)]
    for at, value in enumerate(values):
        top, zero = y.at(max(value, 0.0)), y.at(0.0)
        tall = abs(y.at(value) - zero)
        kind = "won" if value >= 0 else "lost"
        said = escape(f"{labels[at]}: {value:,.2f}")
        shapes.append(
            f'<rect class="{kind}" x="{x.at(at) - wide / 2:.1f}" y="{top:.1f}" width="{wide:.1f}" '
            f'height="{max(tall, 0.5):.1f}"><title>{said}</title></rect>'
        )
    return _svg(title, _HEIGHT, shapes)


def histogram(title: str, values: Sequence[float], *, bins: int = 40, unit: str = "") -> str:
    """How often each size of ``values`` occurs; losses and gains apart, zero on an edge."""
    if not values:
        return ""
    low, high = min(0.0, *values), max(0.0, *values)
    step = _nice((high - low) / bins or 1.0)
    first, last = floor(low / step), max(ceil(high / step), floor(low / step) + 1)
    counts = [0] * (last - first)
    for value in values:
        counts[min(max(floor(value / step) - first, 0), len(counts) - 1)] += 1
    x = _Scale(first * step, last * step, _LEFT, _WIDTH - _RIGHT)
    ticks = _ticks(0.0, float(max(counts)))
    y = _Scale(ticks[0], ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    shapes = [*_grid(y, [tick for tick in ticks if tick == int(tick)], "")]
    for at, count in enumerate(counts):
        edge = (first + at) * step
        if count:
            left, right = x.at(edge), x.at(edge + step)
            kind = "won" if edge >= 0 else "lost"
            said = f"{count} from {edge:,.2f} to {edge + step:,.2f}"
            shapes.append(
                f'<rect class="{kind}" x="{left:.1f}" y="{y.at(count):.1f}" '
                f'width="{max(right - left - 1, 1):.1f}" '
                f'height="{y.at(0) - y.at(count):.1f}"><title>{said}</title></rect>'
            )
    for tick in _ticks(first * step, last * step):
        if first * step <= tick <= last * step:
            shapes.append(_text(x.at(tick), _HEIGHT - 12, _said(tick, unit), "middle"))
    return _svg(title, _HEIGHT, shapes)


def _grid(y: _Scale, ticks: Sequence[float], unit: str) -> Iterable[str]:
    for tick in ticks:
        at = y.at(tick)
        kind = "axis" if tick == 0 else "grid"
        yield f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield _text(_LEFT - 8, at + 4, _said(tick, unit), "end")


def _dates(x: _Scale, labels: Sequence[str]) -> Iterable[str]:
    n = len(labels)
    for at in range(0, n, ceil(n / _DATES) or 1):
        place = x.at(at) if n > 1 else (x.start + x.end) / 2
        yield _text(min(max(place, x.start + 34), x.end - 34), _HEIGHT - 12, labels[at], "middle")


def _ticks(low: float, high: float) -> list[float]:
    step = _nice((high - low) / _TICKS or abs(high) or 1.0)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [k * step for k in range(first, max(last, first + 1) + 1)]


def _nice(step: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 times a power of ten."""
    power = 10.0 ** floor(log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))


def _said(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.4g}"
    return f"{'0' if text == '-0' else text}{unit}"


def _thin(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most so many points; of each stretch its lowest and its highest, so that no fall is lost."""
    if len(points) <= _MOST:
        return points
    size = ceil(len(points) / (_MOST // 2))
    found: list[tuple[float, float]] = [points[0]]
    for start in range(0, len(points), size):
        some = points[start : start + size]
        found += sorted({min(some, key=lambda p: p[1]), max(some, key=lambda p: p[1])})
    return [*found, points[-1]]


def _svg(title: str, height: int, shapes: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(shapes)}</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
