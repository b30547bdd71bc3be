"""A diff as text: what each parameter changed, consequences separately, and a table at the end."""

from collections.abc import Iterable, Iterator, Sequence

from tapedeck.streams.telling import new_york
from tapedeck.tape.whatif.diff import Diff, Difference, Part, Standing
from tapedeck.tape.whatif.outcomes import Kind, Outcome

_NEVER = {Part.WATCHLIST: "not evaluated", Part.DECISION: "not decided", Part.PROPOSAL: "not proposed"}
_FIRST = (Kind.ADDED, Kind.REMOVED, Kind.CHANGED)


def as_text(diff: Diff, *, rows: int) -> str:
    """The diff for a terminal; ``rows``: how many differences of a list are shown."""
    lines = [f"recorded under {diff.base_digest}, decided again under {diff.changed_digest}"]
    lines += [f"window {new_york(diff.since)} to {new_york(diff.until)} New York, end exclusive"]
    lines += [f"    {change}" for change in diff.changes] or ["    no parameter differs"]
    for name in dict.fromkeys(name for each in diff.differences for name in each.causes):
        mine = [each for each in diff.differences if name in each.causes]
        lines += ["", f"Caused by {name}", *_listed(mine, rows)]
    for standing, title in ((Standing.CONSEQUENCE, "Consequences"), (Standing.UNEXPLAINED, "Unexplained")):
        mine = [each for each in diff.differences if each.standing is standing]
        if mine:
            lines += ["", title, *_listed(mine, rows)]
    lines += _unpriced(diff, rows)
    lines += ["", *_table(diff)]
    lines += [f"note: {note}" for note in diff.notes]
    return "\n".join([*lines, summary(diff)])


def summary(diff: Diff) -> str:
    """The result in a sentence."""
    compared = ", ".join(f"{diff.compared[part]} {plural(part)}" for part in Part)
    if not diff.differences:
        return f"NO DIFFERENCE: {compared} come out as recorded"
    direct, after, odd = (sum(each.standing is s for each in diff.differences) for s in Standing)
    found = f"{direct} direct differences and {after} consequences, of {compared}"
    return (
        f"{found}; {odd} UNEXPLAINED: `tape rebuild --verify` says where the recording is off"
        if odd
        else found
    )


def plural(part: Part) -> str:
    """The unit of a part."""
    return "watchlist places" if part is Part.WATCHLIST else f"{part.lower()}s"


def told(outcome: Outcome | None, part: Part) -> str:
    """An outcome in words."""
    return _NEVER[part] if outcome is None else outcome.text()


def origin(each: Difference) -> str:
    """The difference that a consequence follows, and its parameter."""
    if each.follows is None:
        return ""
    after = each.follows
    who = f" of {after.account}" if after.account else ""
    named = ", ".join(each.parameters)
    return f"after the {after.part.lower()}{who} {after.symbol} {new_york(after.at)[5:16]} ({named})"


def ordered(differences: Iterable[Difference]) -> list[Difference]:
    """Sorted: what acts or no longer acts first, proposals before decisions before places, then by time."""
    parts = list(Part)

    def order(each: Difference) -> tuple[bool, int, int, str]:
        return each.kind is Kind.CHANGED, -parts.index(each.part), each.at, each.symbol

    return sorted(differences, key=order)


def _listed(differences: Sequence[Difference], rows: int) -> Iterator[str]:
    for each in ordered(differences)[:rows]:
        who = f" {each.account}" if each.account else ""
        head = f"  {new_york(each.at)[5:16]}  {each.part.lower():<9} {each.symbol + who:<12} {each.kind:<8}"
        yield f"{head} {told(each.was, each.part)}  ->  {told(each.now, each.part)}"
        if each.follows:
            yield f"{'':<46}{origin(each)}"
    if len(differences) > rows:
        yield f"  and {len(differences) - rows} more: --rows N shows more, --json all"


def _unpriced(diff: Diff, rows: int) -> Iterator[str]:
    if not diff.unpriced:
        return
    yield ""
    yield "Signals that would be proposed; what they would come to cannot be priced from the tape"
    for each in diff.unpriced[:rows]:
        quote = f"; stock quoted {each.quote}" if each.quote else ""
        yield f"  {new_york(each.at)[5:16]}  {each.account:<10} {each.symbol:<6} {each.outcome.text()}{quote}"
    if len(diff.unpriced) > rows:
        yield f"  and {len(diff.unpriced) - rows} more"


def _table(diff: Diff) -> Iterator[str]:
    heads = f"{'compared':>9} {'acted':>7}   {'added':>7} {'removed':>8} {'changed':>8}"
    yield f"{'':<10} {heads}   of them consequences"
    for part in Part:
        mine = diff.of(part)
        counts = [sum(each.kind is kind for each in mine) for kind in _FIRST]
        after = len(diff.of(part, Standing.CONSEQUENCE))
        numbers = (
            f"{diff.compared[part]:>9} {diff.acted[part]:>7}   {counts[0]:>7} {counts[1]:>8} {counts[2]:>8}"
        )
        yield f"{part.lower():<10} {numbers}   {after}"
    if diff.by_parameter:
        yield ""
        width = max(len(name) for name, _, _ in diff.by_parameter)
        yield f"{'parameter':<{width}}   direct  consequences"
        for name, direct, after in diff.by_parameter:
            yield f"{name:<{width}}  {direct:>7}  {after:>12}"
