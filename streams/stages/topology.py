"""The shipped pipeline: which stage reads, joins, writes and owns what."""

from tapedeck.streams.protocol import Join, StageSpec
from tapedeck.streams.topology import Topology

_HERE = "tapedeck.streams.stages"

TOPOLOGY = Topology(
    StageSpec(
        name="features",
        folder=f"{_HERE}.features",
        trigger="bars",
        outputs=("features", "bars.late"),
        doc="feature vector per bar over a revision-aware window",
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
        joins=(Join("memberships"),),
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
        outputs=("proposals", "orders", "executions", "positions", "accounts"),
        scale="single",
        per_account=True,
        doc="gates, sizing, orders and positions: a fold of the account's inbox",
    ),
)
