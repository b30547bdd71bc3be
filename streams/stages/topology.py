"""The shipped pipeline: which stage reads, joins, writes and owns what."""

from tapedeck.streams.protocol import Join, StageSpec
from tapedeck.streams.topology import Topology

_HERE = "tapedeck.streams.stages"

TOPOLOGY = Topology(
    StageSpec(
        name="stories",
        folder=f"{_HERE}.stories",
        trigger="news",
        outputs=("links", "stories"),
        scale="single",
        doc="the symbols that each version of an article names, and the story that it tells",
    ),
    StageSpec(
        name="post_links",
        folder=f"{_HERE}.post_links",
        trigger="posts",
        outputs=("post_links",),
        scale="single",
        doc="the symbols that each version of a post or comment names",
    ),
    StageSpec(
        name="features",
        folder=f"{_HERE}.features",
        trigger="bars",
        outputs=("features", "bars.late"),
        doc="feature vector per bar over a revision-aware window",
    ),
    StageSpec(
        name="sentiment_windows",
        folder=f"{_HERE}.sentiment_windows",
        trigger="sentiment",
        outputs=("sentiment_windows",),
        period=60,
        doc="a symbol's mood of the last 30 and 60 minutes, whenever it changes",
    ),
    StageSpec(
        name="scores",
        folder=f"{_HERE}.scores",
        trigger="features",
        joins=(Join("sentiment_windows", optional=True),),
        outputs=("scores",),
        scale="single",
        period=300,
        doc="watch score per symbol at every five-minute boundary",
    ),
    StageSpec(
        name="watchlist",
        folder=f"{_HERE}.watchlist",
        trigger="scores",
        joins=(Join("universe"),),
        outputs=("watchlist", "memberships"),
        scale="single",
        period=60,
        doc="ranked watchlist with hysteresis, and each symbol's place in it",
    ),
    StageSpec(
        name="signals",
        folder=f"{_HERE}.signals",
        trigger="features",
        joins=(Join("memberships"), Join("sentiment_windows", optional=True)),
        outputs=("decisions", "signals", "revision_audit"),
        doc="one decision per bar, HOLD included; a signal where the rules act",
    ),
    StageSpec(
        name="mentions",
        folder=f"{_HERE}.mentions",
        trigger="sentiment",
        outputs=("mentions",),
        period=60,
        doc="mentions per symbol, hour and scope, written when they change",
    ),
    StageSpec(
        name="surges",
        folder=f"{_HERE}.surges",
        trigger="mentions",
        outputs=("surges",),
        period=3600,
        doc="each completed hour of a symbol against the same hour of the days before",
    ),
    StageSpec(
        name="account",
        folder=f"{_HERE}.account",
        trigger="account_inbox",
        outputs=("proposals", "orders", "executions", "positions", "exits", "accounts"),
        scale="single",
        per_account=True,
        doc="gates, sizing, orders and positions: a fold of the account's inbox",
    ),
)
