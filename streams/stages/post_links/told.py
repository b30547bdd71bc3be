"""Posts and their links in words."""

from tapedeck.streams.misses import number
from tapedeck.streams.stages.links.told import LINKS, version
from tapedeck.streams.telling import Body, Telling, Told, new_york, short


def _post(body: Body) -> str:
    text = "removed" if body["removed"] else f'"{short(body["title"] or body["text"])}"'
    kind = str(body["kind"]).lower()
    return f"{kind} {version(body)} in {body['subreddit']}, of {new_york(body['event_time'])}: {text}"


def _source(body: Body) -> list[str]:
    votes = f"upvotes {number(body['upvotes'])}, comments {number(body['comments'])}"
    lines = [f"url: {body['url']}"] if body["url"] else []
    lines += [f"thread: {body['thread_id']}, {votes}"]
    lines += [f"flags: {', '.join(body['flags'])}"] if body["flags"] else []
    return [*lines, f"from: {body['origin']}"]


TOLD: Telling = {"posts": Told(_post, _source), "post_links": LINKS}
