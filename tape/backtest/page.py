"""The frame of the page: its colors for light and dark mode, tables, and the filter of a table."""

from collections.abc import Iterable, Sequence
from html import escape

COLORS = 6
"""How many lines have a color of their own."""
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --paper: #ffffff; --panel: #f5f7f9;
  --line: #d5dae1; --up: #0b7a4b; --down: #b3261e; --warn: #fff3d6; --warned: #6b4a00;
  --c0: #0b69c7; --c1: #c2571a; --c2: #6d3fc0; --c3: #0b7a4b; --c4: #9a1f6a; --c5: #5b6675; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #a3adbb; --paper: #14181e; --panel: #1d232b; --line: #38414d;
    --up: #4cc38a; --down: #ff8078; --warn: #3a2e10; --warned: #ffd98a;
    --c0: #5cb0ff; --c1: #ff9d5c; --c2: #b79bff; --c3: #4cc38a; --c4: #ff8ac9; --c5: #a3adbb; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px; max-width: 1200px; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 32px 0 6px; }
h3 { font-size: 16px; margin: 16px 0 6px; } small { color: var(--soft); font-weight: 400; }
p { margin: 4px 0; } .soft { color: var(--soft); } code { font-family: ui-monospace, monospace; }
.warning { padding: 8px 14px; margin: 6px 0; background: var(--warn); color: var(--warned);
  border-radius: 6px; }
.verdict, .passed { padding: 10px 14px; margin: 8px 0; background: var(--panel); border-radius: 6px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(205px, 1fr)); gap: 8px; }
.tile { background: var(--panel); border-radius: 6px; padding: 8px 12px; }
.tile span { display: block; color: var(--soft); font-size: 13px; }
.tile b { display: block; font-size: 17px; font-variant-numeric: tabular-nums; }
.tile i { display: block; color: var(--soft); font-size: 12px; font-style: normal; min-height: 18px; }
.up { color: var(--up); } .down { color: var(--down); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 4px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.t { white-space: nowrap; }
.key { display: inline-block; width: 12px; height: 12px; margin: 0 4px 0 14px; border-radius: 2px;
  vertical-align: -1px; background: currentColor; }
svg { width: 100%; height: auto; background: var(--panel); border-radius: 6px; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg .axis { stroke: var(--soft); } svg .grid { stroke: var(--line); }
svg .line { fill: none; stroke: currentColor; stroke-width: 1.5; }
svg .area { fill: currentColor; opacity: 0.18; }
svg .won { fill: var(--up); } svg .lost { fill: var(--down); }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); }
.c3 { color: var(--c3); } .c4 { color: var(--c4); } .c5 { color: var(--c5); }
input { width: 100%; max-width: 420px; padding: 6px 10px; margin: 0 0 8px; color: var(--ink);
  background: var(--panel); border: 1px solid var(--line); border-radius: 6px; font: inherit; }
"""
_SCRIPT = """
for (const field of document.querySelectorAll('input[data-for]')) {
  const rows = document.querySelectorAll('#' + field.dataset.for + ' tbody tr');
  field.addEventListener('input', () => {
    const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}
"""


def page(title: str, body: Iterable[str]) -> str:
    """The whole page."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}<script>{_SCRIPT}</script></body></html>\n"
    )


def table(name: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that ``cell`` made."""
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    lines = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    content = f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody>"
    return f'<div class="scroll"><table id="{name}">{content}</table></div>'


def cell(text: object, kind: str = "") -> str:
    """One cell; ``kind``: n for a number, t for a text that does not wrap."""
    return f"<td{f' class={kind!r}' if kind else ''}>{escape(str(text))}</td>"
