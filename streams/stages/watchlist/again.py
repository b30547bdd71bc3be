"""How a list, and a symbol's place in it, is recomputed: from the list before it, scores and universe."""

from tapedeck.streams.again import Again, Body, Case, Inputs, run
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Row, Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.watchlist.rule import SCORED, Member
from tapedeck.streams.stages.watchlist.stage import list_value


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    """A membership names its list; a list names everything it was computed from."""
    listed = body if "members" in body else next(iter(inputs.named("watchlist", body)), None)
    if listed is None:
        return None
    before = inputs.named("watchlist", listed)
    universes, scores = inputs.named("universe", listed), inputs.named("scores", listed)
    if not universes or len(before) + len(universes) + len(scores) < len(listed["inputs"]):
        return None
    rows = [Row("scores", score["symbol"].encode(), score, 0, 0) for score in scores]
    rows += [Row("universe", b"", universe, 0, 0) for universe in universes]
    keys = {stage.key(row) for row in rows}
    own = _own(before[0], config, inputs) if before else b""
    if own is None:
        return None
    return Case(
        watermark=listed["evaluation"] - MINUTE_US,
        values={key: run(stage, Case(key, None, rows)).state for key in keys},
        own=own or None,
    )


def _own(listed: Body, config: Config, inputs: Inputs) -> bytes | None:
    """The task's own value after ``listed``. No record says since when a member has been below exit. The
    lists before tell, back to where it was last not below. None if one of them is not kept."""
    members = {
        member["symbol"]: Member(member["flag"], member["entered_at"], None) for member in listed["members"]
    }
    below = _below(listed, config)
    each = listed
    while below := below & _below(each, config):
        for symbol in below:
            members[symbol] = members[symbol]._replace(below_since=each["evaluation"])
        earlier = inputs.named("watchlist", each)
        if not earlier:
            return None
        each = earlier[0]
    return list_value(members, listed["event_id"], listed["universe_version"])


def _below(listed: Body, config: Config) -> set[str]:
    """The members below exit whose clock is running: one that enters just now has none yet."""
    return {
        member["symbol"]
        for member in listed["members"]
        if member["flag"] == SCORED
        and member["entered_at"] != listed["evaluation"]
        and (member["score"] is None or member["score"] < config.watchlist.exit)
    }


AGAIN = Again(_case)
