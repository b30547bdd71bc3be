"""What a principal may do on a cluster, in three forms: commands for Kafka's tool, bindings, a check.

A process checks its rights at start, so that it does not discover halfway that it may not write.
"""

import shlex
import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tapedeck.connectors.kafka.clients import admin_client
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import GROUP as READER
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.topics.catalogue import CATALOGUE, Layout

INGEST, SCORER, SINK, OPERATOR, ADMIN = "ingest", "scorer", "sink", "operator", "admin"
"""The kinds of process besides the stages and the dispatchers: the one that writes the source topics, the
one that scores texts, the one that copies into Postgres, a person who looks, and one who creates topics."""

ANSWER_S = 10.0
_PATIENCE_S = 30.0
_AGAIN_S = 0.2
READ, WRITE, CREATE, DELETE = (
    AclOperation.READ, AclOperation.WRITE, AclOperation.CREATE, AclOperation.DELETE,
)  # fmt: skip
DESCRIBE, DESCRIBE_CONFIGS = AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS
_IMPLY_DESCRIBE = {READ, WRITE, DELETE}
_REFUSED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED)
_NOT_THERE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND)
Operations = tuple[AclOperation, ...]


@dataclass(frozen=True)
class Rights:
    """What one kind of process does. ``reads`` and ``writes``: topics by their names in the catalogue;
    ``groups``: consumer groups that it is a member of, by their whole names.

    ``on_topics`` and ``on_groups``: what else it does to every topic, and to every group of the pipeline.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    on_topics: Operations = ()
    on_groups: Operations = ()

    def __or__(self, other: "Rights") -> "Rights":
        def both(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(dict.fromkeys((*ours, *theirs)))

        return Rights(
            both(self.reads, other.reads),
            both(self.writes, other.writes),
            both(self.groups, other.groups),
            both(self.on_topics, other.on_topics),
            both(self.on_groups, other.on_groups),
        )


REPORTS = ("heartbeats", "dead_letters")
"""The topics that every record-processing process writes."""


def copying(names: tuple[str, ...]) -> Rights:
    """The rights to copy topics into a database: offsets are kept there, so no group is needed."""
    return Rights(reads=names, writes=REPORTS)


class Grant(NamedTuple):
    """Operations on one topic or group, or on all whose names start with ``name``."""

    resource: str
    name: str
    operations: Operations
    prefixed: bool = False


def grants_of(rights: Rights, layout: Layout) -> list[Grant]:
    """What ``rights`` need, and no more: every process reads every topic's settings when it starts."""
    found = []
    for topic in CATALOGUE:
        wanted = {DESCRIBE, DESCRIBE_CONFIGS, *rights.on_topics}
        wanted |= {READ} if topic.name in rights.reads else set()
        wanted |= {WRITE} if topic.name in rights.writes else set()
        found.append(Grant("topic", layout.wire_name(topic.name), _least(wanted)))
    found += [Grant("group", group, (READ,)) for group in rights.groups]
    if rights.on_groups:
        found.append(Grant("group", layout.group(""), _least(set(rights.on_groups)), prefixed=True))
    return [*found, Grant("group", READER, (DESCRIBE,))]


def commands(principal: str, grants: Iterable[Grant], bootstrap: str) -> list[str]:
    """The commands of Kafka's own tool that grant this, as few as possible.

    The administrator's login is in a file ``admin.properties``.
    """
    lines = []
    for (resource, prefixed, operations), same in groupby(sorted(grants, key=_alike), key=_alike):
        words = [f"kafka-acls.sh --bootstrap-server {bootstrap} --command-config admin.properties"]
        words += [f"--add --allow-principal {shlex.quote(principal)}"]
        words += [f"--operation {_word(AclOperation(operation))}" for operation in operations]
        words += [f"--{resource} {each.name}" for each in same]
        words += ["--resource-pattern-type prefixed"] if prefixed else []
        lines.append(" ".join(words))
    return lines


def as_json(principal: str, grants: Iterable[Grant]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "principal": principal,
            "resource": grant.resource,
            "name": grant.name,
            "pattern": "prefixed" if grant.prefixed else "literal",
            "operations": [_word(operation) for operation in grant.operations],
        }
        for grant in grants
    ]


def write_acls(keeper: Cluster, wanted: dict[str, list[Grant]]) -> None:
    """Grant each principal what it needs and keep existing grants; returns when they are in effect.

    Raises Fatal if it is refused.
    """
    bindings = [
        AclBinding(
            ResourceType[grant.resource.upper()],
            grant.name,
            ResourcePatternType.PREFIXED if grant.prefixed else ResourcePatternType.LITERAL,
            principal,
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for principal, grants in wanted.items()
        for grant in grants
        for operation in grant.operations
    ]
    client = admin_client(keeper, "acls")
    try:
        for answer in client.create_acls(bindings, request_timeout=ANSWER_S).values():
            answer.result(ANSWER_S)
        _until_held(client, set(bindings))
    except KafkaException as error:
        raise Fatal(
            f"the broker did not accept the ACLs: {error.args[0].str()}",
            value=keeper.bootstrap,
            remedy="log in as a user who may alter the cluster; the cluster needs an authorizer",
        ) from error


def _until_held(client: AdminClient, wanted: set[AclBinding]) -> None:
    """Wait for the broker, which follows the controller's log: a grant takes effect a moment later."""
    anybody: Any = None
    every = AclBindingFilter(
        ResourceType.ANY, anybody, ResourcePatternType.ANY, anybody, anybody, AclOperation.ANY,
        AclPermissionType.ANY,
    )  # fmt: skip
    until = time.monotonic() + ANSWER_S
    while time.monotonic() < until:
        if wanted <= set(client.describe_acls(every, request_timeout=ANSWER_S).result(ANSWER_S)):
            return
        time.sleep(_AGAIN_S)


def demand_rights(cluster: Cluster, rights: Rights) -> None:
    """Return if the cluster lets this process do its work.

    A cluster without an authorizer allows everything. Topics and groups that do not exist yet are left to
    other checks. Raises Fatal naming each missing operation, on what, for whom, and the commands that grant
    it; Retry if the broker does not answer.
    """
    wanted = [grant for grant in grants_of(rights, cluster.layout) if not grant.prefixed]
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            allowed = _allowed(cluster, wanted)
            break
        except Retry:  # a cluster that has just started has no coordinators yet
            if time.monotonic() > until:
                raise
        time.sleep(_AGAIN_S)
    missing = [
        grant._replace(operations=lacking)
        for grant in wanted
        if (lacking := tuple(each for each in grant.operations if each not in allowed[grant.name]))
    ]
    if missing:
        raise refused(cluster, missing)


def refused(cluster: Cluster, missing: list[Grant]) -> Fatal:
    """The error for grants that are ``missing``."""
    principal = cluster.security.principal
    told = [
        f"{' and '.join(_word(AclOperation(each)) for each in operations)} on {resource} "
        + ", ".join(grant.name for grant in same)
        for (resource, _, operations), same in groupby(sorted(missing, key=_alike), key=_alike)
    ]
    lines = "\n".join(commands(principal, missing, cluster.bootstrap))
    return Fatal(
        f"{principal} lacks rights on the cluster that this process needs: {'; '.join(told)}",
        value=cluster.bootstrap,
        remedy=f"an administrator can grant them; `tape topics --acls` prints all that are needed:\n{lines}",
    )


def _allowed(cluster: Cluster, wanted: list[Grant]) -> dict[str, Operations]:
    """The allowed operations on each of these topics and groups, by name."""
    client = admin_client(cluster, "rights")
    topics = [grant.name for grant in wanted if grant.resource == "topic"]
    groups = [grant.name for grant in wanted if grant.resource == "group"]
    ask: dict[str, Any] = {"include_authorized_operations": True, "request_timeout": ANSWER_S}
    answers: dict[str, Future[Any]] = {
        **client.describe_topics(TopicCollection(topics), **ask),
        **client.describe_consumer_groups(groups, **ask),
    }
    return {name: _told(cluster, answer) for name, answer in answers.items()}


def _told(cluster: Cluster, answer: "Future[Any]") -> Operations:
    """The broker's answer for one of them; all operations if it says nothing."""
    try:
        told = answer.result(ANSWER_S + 1).authorized_operations
    except KafkaException as error:
        if (code := error.args[0].code()) in _REFUSED:
            return ()
        if code in _NOT_THERE:
            return tuple(AclOperation)
        raise Retry(
            f"the broker did not report this process's rights: {error.args[0].str()}",
            value=cluster.bootstrap,
            remedy="check that it runs",
        ) from error
    return tuple(AclOperation) if told is None else tuple(told)


def _least(wanted: set[AclOperation]) -> Operations:
    """The operations that are not implied by others, in the order of Kafka's own list."""
    implied = {DESCRIBE} if wanted & _IMPLY_DESCRIBE else set()
    return tuple(each for each in AclOperation if each in wanted - implied)


def _alike(grant: Grant) -> tuple[str, bool, tuple[int, ...]]:
    """A key that groups grants which one command can give."""
    return grant.resource, grant.prefixed, tuple(each.value for each in grant.operations)


def _word(operation: AclOperation) -> str:
    """In the spelling of Kafka's tool: DescribeConfigs."""
    return "".join(part.capitalize() for part in operation.name.split("_"))
