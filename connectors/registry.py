"""A schema registry, where a house runs one: subjects are registered there and its ids go on the wire.

Speaks the REST interface that Confluent's registry defined (``POST /subjects/{topic}-value/versions``).
Nothing here runs unless SCHEMA_REGISTRY_URL is set.
"""

import json
from typing import Any

import requests

from tapedeck.schemas.codec import use_ids
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.schemas.ids import REGISTRY_VARIABLE, IdMap, versions
from tapedeck.topics.catalogue import CATALOGUE, Layout

_TIMEOUT_S = 10.0
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_SERVER_ERROR = 500


def use_registry(url: str, prefix: str) -> None:
    """Register every schema at ``url`` and stamp and read its ids in this process from now on.

    Raises Retry or Fatal as ``register`` does.
    """
    use_ids(register(url, Layout(prefix)))


def register(url: str, layout: Layout) -> IdMap:
    """Register every logged version of every topic's schema, oldest first; returns the registry's ids.

    Registering what is there already gives its id again, so every process may do it. Raises Retry where the
    registry does not answer, Fatal where it refuses a schema or gives one schema two ids.
    """
    to_wire: dict[str, int] = {}
    to_log: dict[int, int] = {}
    with requests.Session() as session:
        for topic in CATALOGUE:
            if topic.schema is None:
                continue
            subject = f"{layout.wire_name(topic.name)}-value"
            for log_id, document in versions(topic.schema):
                wire_id = _post(session, url, subject, document)
                if to_log.setdefault(wire_id, log_id) != log_id:
                    what = f"the registry gave id {wire_id} to two schemas"
                    raise Fatal(what, value=subject, remedy="check that it does not normalise schemas")
                to_wire[topic.schema] = wire_id
    return IdMap(to_wire, to_log)


def _post(session: requests.Session, url: str, subject: str, document: dict[str, Any]) -> int:
    address = f"{url.rstrip('/')}/subjects/{subject}/versions"
    headers = {"Content-Type": _CONTENT_TYPE}
    content = json.dumps({"schemaType": "AVRO", "schema": json.dumps(document)})
    try:
        answer = session.post(address, data=content, headers=headers, timeout=_TIMEOUT_S)
    except requests.RequestException as error:
        remedy = f"check {REGISTRY_VARIABLE} and that the registry runs"
        raise Retry(f"the schema registry did not answer: {error}", value=url, remedy=remedy) from error
    if answer.status_code >= _SERVER_ERROR:
        raise Retry(
            "the schema registry failed",
            value=f"{answer.status_code} {answer.text[:200]}",
            remedy="see its log",
        )
    try:
        wire_id = answer.json()["id"]
    except (ValueError, KeyError, TypeError):
        wire_id = None
    if not answer.ok or not isinstance(wire_id, int):
        raise Fatal(
            f"the schema registry refused the schema of {subject}",
            value=f"{answer.status_code} {answer.text[:200]}",
            remedy="set the subject's compatibility to what `python -m tapedeck.schemas.compat` holds it to",
        )
    return wire_id
