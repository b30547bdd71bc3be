"""A diff as one HTML page: plots and tables with a filter; it loads nothing from the network."""

from collections.abc import Iterable, Sequence
from html import escape

from tapedeck.streams.telling import new_york
from tapedeck.tape.whatif import plots
from tapedeck.tape.whatif.diff import Diff, Difference, Part, Standing
from tapedeck.tape.whatif.outcomes import Kind
from tapedeck.tape.whatif.text import ordered, origin, plural, summary, told

ROWS = 2000
"""The most rows of one table, so that browsers can scroll the page.

The counts above a table include all rows.
"""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --paper: #ffffff; --panel: #f3f5f8;
  --line: #d5dae1; --direct: #0b69c7; --consequence: #d98a00; --unexplained: #c2271f; --move: #5a6f8c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #a3adbb; --paper: #14181e; --panel: #1d232b; --line: #38414d;
    --direct: #5cb0ff; --consequence: #ffbb4d; --unexplained: #ff7a70; --move: #8fa6c6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px; max-width: 1200px; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 32px 0 8px; }
p { margin: 4px 0; } .soft { color: var(--soft); } code { font-family: ui-monospace, monospace; }
.verdict { font-size: 17px; padding: 12px 16px; margin: 12px 0; background: var(--panel); border-radius: 6px }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 4px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; } td.n { text-align: right; }
td.t { white-space: nowrap; } .key { display: inline-block; width: 12px; height: 12px; margin: 0 4px 0 12px;
  border-radius: 2px; vertical-align: -1px; }
.ADDED { color: var(--direct); } .REMOVED { color: var(--unexplained); }
svg { width: 100%; height: auto; background: var(--panel); border-radius: 6px; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } svg .axis { stroke: var(--line); }
.direct { fill: var(--direct); background: var(--direct); }
.consequence { fill: var(--consequence); background: var(--consequence); }
.unexplained { fill: var(--unexplained); background: var(--unexplained); } .move { fill: var(--move); }
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
_KEYS = "".join(f'<span class="key {each.lower()}"></span>{each.lower()}' for each in Standing)


def as_html(diff: Diff, *, made_us: int) -> str:
    """The page. ``made_us``: when, UTC microseconds."""
    body = [
        "<h1>What if</h1>",
        f'<p class="soft">{new_york(diff.since)} to {new_york(diff.until)} New York; recorded under '
        f"<code>{diff.base_digest}</code>, decided again under <code>{diff.changed_digest}</code>; made "
        f"{new_york(made_us)} New York</p>",
        f'<p class="verdict">{escape(summary(diff))}</p>',
        _changes(diff),
        _counts(diff),
        *_plots(diff),
        _differences("Caused by a parameter", diff, Standing.DIRECT),
        _differences("Consequences", diff, Standing.CONSEQUENCE),
        _differences("Unexplained", diff, Standing.UNEXPLAINED),
        _unpriced(diff),
        *(f"<p>Note: {escape(note)}</p>" for note in diff.notes),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>What if</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}<script>{_SCRIPT}</script></body></html>\n"
    )


def _table(name: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    lines = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    content = f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody>"
    return f'<div class="scroll"><table id="{name}">{content}</table></div>'


def _cell(text: object, sort: str = "") -> str:
    return f"<td{f' class={sort!r}' if sort else ''}>{escape(str(text))}</td>"


def _changes(diff: Diff) -> str:
    if not diff.changes:
        return "<p>No parameter differs.</p>"
    counts = {name: (direct, after) for name, direct, after in diff.by_parameter}
    rows = []
    for change in diff.changes:
        named = [each for name, each in counts.items() if change.path in name.split(" + ")]
        direct, after = sum(d for d, _ in named), sum(a for _, a in named)
        text = str(change).removeprefix(f"{change.path} ")
        rows.append((_cell(change.path), _cell(text), _cell(direct, "n"), _cell(after, "n")))
    heads = ("parameter", "change", "differences", "consequences")
    return f"<h2>Parameters</h2>{_table('changes', heads, rows)}"


def _counts(diff: Diff) -> str:
    rows = []
    for part in Part:
        mine = diff.of(part)
        kinds = [sum(each.kind is kind for each in mine) for kind in Kind]
        after = len(diff.of(part, Standing.CONSEQUENCE))
        numbers = (diff.compared[part], diff.acted[part], *kinds, after)
        rows.append((_cell(plural(part)), *(_cell(each, "n") for each in numbers)))
    heads = ("part", "compared", "acted", "added", "removed", "changed", "of them consequences")
    return "<h2>Counts</h2>" + _table("counts", heads, rows)


def _plots(diff: Diff) -> Iterable[str]:
    if not diff.differences:
        return
    yield f"<h2>When</h2><p class='soft'>each row to its own scale{_KEYS}</p>{plots.timeline(diff)}"
    yield f"<h2>By parameter</h2><p class='soft'>direct + consequences{_KEYS}</p>{plots.parameters(diff)}"
    yield f"<h2>From what to what</h2>{plots.moves(diff.differences)}"


def _differences(title: str, diff: Diff, standing: Standing) -> str:
    mine = [each for each in diff.differences if each.standing is standing]
    if not mine:
        return ""
    name = standing.lower()
    shown = [_row(each) for each in ordered(mine)[:ROWS]]
    heads = ("New York", "part", "symbol", "account", "", "was", "is now", "because")
    left = f"; the first {ROWS} are shown, --json has all" if len(mine) > ROWS else ""
    return (
        f'<h2>{title}</h2><p class="soft">{len(mine)}{left}</p>'
        f'<input data-for="{name}" placeholder="filter, such as NVDA added" aria-label="filter">'
        f"{_table(name, heads, shown)}"
    )


def _row(each: Difference) -> Sequence[str]:
    because = origin(each) or " or ".join(each.causes)
    return (
        _cell(new_york(each.at)[:16], "t"),
        _cell(each.part.lower()),
        _cell(each.symbol),
        _cell(each.account or ""),
        _cell(each.kind.lower(), each.kind),
        _cell(told(each.was, each.part)),
        _cell(told(each.now, each.part)),
        _cell(because),
    )


def _unpriced(diff: Diff) -> str:
    if not diff.unpriced:
        return ""
    rows = [
        (
            _cell(new_york(each.at)[:16], "t"),
            _cell(each.account),
            _cell(each.symbol),
            _cell(each.outcome.text()),
            _cell(each.quote or "none"),
        )
        for each in diff.unpriced[:ROWS]
    ]
    heads = ("New York", "account", "symbol", "signal", "stock quote (bid / ask)")
    return (
        "<h2>Would be proposed, cannot be priced from the tape</h2>"
        '<p class="soft">The recorded run did not ask for these: there is no option chain and no account '
        f"answer. The stock's quote is the newest on the tape.</p>{_table('unpriced', heads, rows)}"
    )
