"""The processes around the stages in `tape status`: which they are, and the worst of their states."""

from io import StringIO

from rich.console import Console

from tapedeck.connectors.alpaca.market.states import State
from tapedeck.connectors.news.poller import FeedStatus
from tapedeck.connectors.reddit.states import RED, RedditState
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.status.lines import StageLine
from tapedeck.tape.status.screen import _edges, _funnel
from tapedeck.tape.status.standings import SEVERITY, Severity, edges

NOW = 1_790_000_000_000_000


def line(stage: str, *, at: int = NOW - 1_000_000, **reasons: int) -> StageLine:
    return StageLine(
        stage=stage, partitions=1, watermark=NOW - 60_000_000, at=at, lag=3, records=7, taken=9, given={},
        reasons={name.replace("__", ":"): n for name, n in reasons.items()},
    )  # fmt: skip


def test_every_state_of_a_source_has_a_severity() -> None:
    assert SEVERITY.keys() == {*map(str, State), *map(str, FeedStatus), *map(str, RedditState)}
    assert {name for name in RED if SEVERITY[name] is not Severity.RED} == set()


def test_processes_that_are_no_stage_are_told_apart_with_their_worst_state() -> None:
    lines = [
        line("features"),
        line("dispatch-main"),
        line("ingest-bars", NOW_CONNECTING=200, STATE_LIVE=1),
        line(
            "ingest-news", OK__one=5, STALE__two=4000, FAILING__three=9000, REST_BEHIND_S__alpaca=7, FOLDED=2
        ),
        line("ingest-posts", OK__wallstreetbets=60, RUNS=4),
        line("scorer", SCORED=5, BY__light=5),
    ]
    found = {each.name: each.worst for each in edges(lines, TOPOLOGY)}
    assert list(found) == ["ingest-bars", "ingest-news", "ingest-posts", "scorer"]
    shown = {name: (worst.state, worst.source, worst.for_s) for name, worst in found.items() if worst}
    assert shown == {
        "ingest-bars": ("CONNECTING", "", 200),
        "ingest-news": ("STALE", "two", 4000),
        "ingest-posts": ("OK", "wallstreetbets", 60),
    }
    assert found["scorer"] is None


def test_the_table_shows_state_age_and_lag_and_the_funnel_leaves_the_states_out() -> None:
    lines = [line("ingest-news", STALE__two=4000, UNCHANGED=2), line("scorer", at=NOW - 90_000_000)]
    console = Console(width=160, record=True, file=StringIO())
    console.print(_edges(edges(lines, TOPOLOGY), NOW))
    console.print(_funnel(lines))
    text = console.export_text()
    assert "STALE two for 66 min" in text
    assert "90 s ago" in text
    assert "UNCHANGED 2" in text
    assert "STALE:two" not in text
