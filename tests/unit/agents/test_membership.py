"""How the variables of a worker make it a dynamic or a static member of its groups."""

import pytest
from aiokafka.protocol.group import LeaveGroupRequest

from tapedeck.agents.membership import DYNAMIC, Membership, membership
from tapedeck.connectors.kafka.leaving import LeaveGroup
from tapedeck.schemas.errors import Fatal


def test_a_worker_is_a_dynamic_member_with_a_short_time_out_unless_told() -> None:
    assert membership({}) == DYNAMIC == Membership(6.0, "", leaves=False)
    empty = {"TAPE_GROUP_INSTANCE": "", "TAPE_SESSION_TIMEOUT_S": "", "TAPE_LEAVE_ON_STOP": ""}
    assert membership(empty) == DYNAMIC


def test_a_static_member_has_a_name_a_time_out_and_may_leave() -> None:
    told = {"TAPE_GROUP_INSTANCE": "features-3", "TAPE_SESSION_TIMEOUT_S": "45"}
    assert membership(told) == Membership(45.0, "features-3", leaves=False)
    assert membership(told | {"TAPE_LEAVE_ON_STOP": "yes"}).leaves
    assert not membership(told | {"TAPE_LEAVE_ON_STOP": "no"}).leaves


@pytest.mark.parametrize(
    "told, says",
    [
        ({"TAPE_SESSION_TIMEOUT_S": "5"}, "6 to 300 seconds"),
        ({"TAPE_SESSION_TIMEOUT_S": "301"}, "6 to 300 seconds"),
        ({"TAPE_SESSION_TIMEOUT_S": "nan"}, "6 to 300 seconds"),
        ({"TAPE_SESSION_TIMEOUT_S": "soon"}, "6 to 300 seconds"),
        ({"TAPE_GROUP_INSTANCE": "features 3"}, "TAPE_GROUP_INSTANCE"),
        ({"TAPE_GROUP_INSTANCE": "x" * 201}, "TAPE_GROUP_INSTANCE"),
        ({"TAPE_GROUP_INSTANCE": "w", "TAPE_LEAVE_ON_STOP": "perhaps"}, "yes or no"),
        ({"TAPE_LEAVE_ON_STOP": "yes"}, "a dynamic one always leaves"),
    ],
)
def test_what_cannot_be_is_refused_by_name(told: dict[str, str], says: str) -> None:
    with pytest.raises(Fatal, match=says):
        membership(told)


def test_the_request_to_leave_names_the_instance_which_the_librarys_cannot() -> None:
    """Version 3: group, members of (member id, instance). The library ends at version 1."""
    request = LeaveGroup("tapedeck-features", "w-3").prepare({13: (0, 5)})
    assert request.API_VERSION == 3
    assert request.encode() == (
        b"\x00\x11tapedeck-features" + b"\x00\x00\x00\x01" + b"\x00\x00" + b"\x00\x03w-3"
    )
    assert max(each.API_VERSION for each in LeaveGroupRequest._CLASSES) == 1, "use the library's now"
    with pytest.raises(NotImplementedError):
        LeaveGroup("g", "w").prepare({13: (0, 2)})
