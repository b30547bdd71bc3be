"""What the stages share: derived records and the bytes of their state."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import orjson

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.identity import RULES_VERSION, event_id
from tapedeck.streams.protocol import Out, Step, Values
from tapedeck.topics.catalogue import topic

Body = dict[str, Any]


class WithoutPeriod:
    """Base of stages that are driven by records only."""

    dead_letter_reasons: frozenset[str] = frozenset()

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        raise Fatal(
            "this stage has no period and accepts no watermarks",
            value=type(self).__name__,
            remedy="set period=None in its StageSpec",
        )


def derived(
    cause: int, name: str, body: Body, config_digest: str, inputs: Sequence[str], *, revision: int = 0
) -> Out:
    """The output record of topic ``name``: ``body`` completed with its identity fields.

    ``inputs`` are the event_ids that the body was computed from, in the order that the stage states.
    """
    spec = topic(name)
    identity = event_id(
        name,
        (body[field] for field in spec.natural_key),
        revision=revision,
        config_digest=config_digest,
        inputs=inputs,
    )
    whole = {
        "event_id": identity,
        "config_digest": config_digest,
        "rules_version": RULES_VERSION,
        "inputs": list(inputs),
        **body,
    }
    return Out(cause, name, spec.record_key(whole), identity, whole)


def pack_state(version: int, fields: Mapping[str, Any]) -> bytes:
    """Canonical JSON of ``fields`` (keys sorted at every depth) behind a format version."""
    return orjson.dumps([version, fields], option=orjson.OPT_SORT_KEYS)


def unpack_state(version: int, data: bytes, *older: int) -> dict[str, Any]:
    """The fields behind ``pack_state``, of ``version`` or one of the ``older`` ones.

    Raises Fatal for bytes of another format or version.
    """
    try:
        found, fields = orjson.loads(data)
    except (orjson.JSONDecodeError, ValueError, TypeError):
        found, fields = "unreadable bytes", {}
    if found not in (version, *older):
        raise Fatal(
            "a state value has another format version",
            value=found,
            remedy=f"this code reads version {version}: run the release that wrote it, or a fresh stack",
        )
    return cast(dict[str, Any], fields)


def migrate_state(
    version: int, data: bytes, steps: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]
) -> dict[str, Any]:
    """The fields behind ``pack_state`` in the form of ``version``, brought there from an older one.

    ``steps``: by format version, what makes its fields those of the next. A value keeps its old form on disk
    until its key is written again, so a rollback still reads every value that the newer release left alone.
    Raises Fatal for a version without steps up to ``version``, such as a newer release's.
    """
    known = [old for old in steps if all(each in steps for each in range(old, version))]
    fields = unpack_state(version, data, *known)
    for old in range(int(orjson.loads(data)[0]), version):
        fields = steps[old](fields)
    return fields
