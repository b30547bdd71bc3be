"""Articles, their links and their stories in words."""

from tapedeck.streams.misses import number
from tapedeck.streams.stages.links.told import LINKS, version
from tapedeck.streams.telling import Body, Telling, Told, new_york, short


def _article(body: Body) -> str:
    return f'{version(body)}, of {new_york(body["event_time"])}: "{short(body["title"] or body["summary"])}"'


def _source(body: Body) -> list[str]:
    lines = [f"url: {body['url']}"] if body["url"] else []
    lines += [f"tags: {', '.join(body['symbols'])}"] if body["symbols"] else []
    lines += [f"flags: {', '.join(body['flags'])}"] if body["flags"] else []
    return [*lines, f"from: {body['origin']}"]


def _story(body: Body) -> str:
    if not body["folded"]:
        began = "begins" if body["story"] == body["event_uid"] else "goes on with"
        return f"{version(body)} {began} story {body['story'][:12]}"
    how = (
        "which it was folded into before"
        if body["likeness"] is None
        else f"likeness {number(body['likeness'])}"
    )
    return f"{version(body)} folds into story {body['story'][:12]}, {how}"


TOLD: Telling = {"news": Told(_article, _source), "links": LINKS, "stories": Told(_story)}
