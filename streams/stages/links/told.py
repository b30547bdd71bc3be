"""Links in words."""

from tapedeck.streams.misses import number
from tapedeck.streams.stages.links.items import name_of
from tapedeck.streams.telling import Body, Told, new_york, short

SHOWN = 5
"""Links of one item that are shown on its line."""


def version(body: Body) -> str:
    """Which version of which item a record is of."""
    return f"{name_of(body)} as of {new_york(body['updated_at'])}"


def _links(body: Body) -> str:
    named = [
        f"{each['symbol']} {number(each['confidence'])} ({'+'.join(each['kinds'])})" for each in body["links"]
    ]
    more = [f"{len(named) - SHOWN} more"] if len(named) > SHOWN else []
    parts = [", ".join([*named[:SHOWN], *more]) or "no symbol"]
    parts += ["a list, so that it counts for none"] if body["list_post"] else []
    parts += ["folded into an earlier story"] if body["folded"] else []
    parts += [f"no longer {', '.join(body['dropped'])}"] if body["dropped"] else []
    return f"{version(body)}: {'; '.join(parts)}"


def _text(body: Body) -> list[str]:
    return [f"text: {short(body['text'])}"] if body["text"] else []


LINKS = Told(_links, _text)
