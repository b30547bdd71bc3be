"""Take a static member out of its group at once, instead of after its session time-out.

aiokafka sends no LeaveGroup for a member with a ``group.instance.id``, and knows the request up to version 1,
which cannot name one. Version 3 (KIP-345) can, and anyone with the right to read the group may send it.
"""

from contextlib import closing
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from tapedeck.connectors.kafka.bulk.brokers import Brokers
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.connection import Connection, Passing, demand
from tapedeck.schemas.errors import Retry

_ANSWER_S = 5.0
_GROUP = 0
_UNKNOWN_MEMBER, _GROUP_NOT_FOUND = 25, 69


class _Response(Response):  # type: ignore[misc]
    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "members",
            Array(
                ("member_id", String("utf-8")),
                ("group_instance_id", String("utf-8")),
                ("error_code", Int16),
            ),
        ),
    )


class _Request(RequestStruct):  # type: ignore[misc]
    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class LeaveGroup(Request[_Request]):  # type: ignore[misc]
    """One static member, named by its instance, leaves."""

    API_KEY = 13

    def __init__(self, group: str, instance: str) -> None:
        self._group, self._instance = group, instance

    def build(self, request_struct_class: type[_Request]) -> _Request:
        return request_struct_class(self._group, [("", self._instance)])


def leave(cluster: Cluster, group: str, instance: str) -> bool:
    """Take ``instance`` out of ``group``; False if it is not a member.

    Raises Retry if the brokers do not answer, Fatal if the login may not read the group.
    """
    try:
        found = _asked(cluster, group, instance)
    except Passing as error:
        raise Retry(f"{instance} could not leave the group {group}: {error}", remedy=error.remedy) from None
    codes = {found.error_code, *(code for _, _, code in found.members)} - {0}
    for code in sorted(codes - {_UNKNOWN_MEMBER, _GROUP_NOT_FOUND}):
        demand(code, f"{instance} leaves the group {group}")
    return not codes


def _asked(cluster: Cluster, group: str, instance: str) -> Any:
    coordinator = Brokers(cluster, silent_s=_ANSWER_S).ask_any(FindCoordinatorRequest(group, _GROUP))
    demand(coordinator.error_code, f"the coordinator of {group}")
    with closing(Connection(cluster, coordinator.host, coordinator.port, _ANSWER_S)) as connection:
        return connection.ask(LeaveGroup(group, instance))
