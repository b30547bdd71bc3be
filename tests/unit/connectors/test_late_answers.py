"""A broker whose answer is later than the client's own limit, as on a frozen or very busy machine."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from tapedeck.connectors.kafka import admin, identity
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.topics.catalogue import Layout

NOBODY = Cluster("127.0.0.1:1", Layout())


def never(*_: object, **__: object) -> Future[object]:
    return Future()


def test_a_description_of_topics_that_is_late_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client = SimpleNamespace(describe_topics=lambda *_, **__: {"bars": never()})
    monkeypatch.setattr(identity, "admin_client", lambda *_, **__: client)
    with pytest.raises(Retry, match="did not describe topic bars within"):
        identity.describe_ids(NOBODY, ["bars"], timeout_s=-0.99)


def test_an_id_of_the_cluster_that_is_late_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "admin_client", lambda *_, **__: SimpleNamespace(describe_cluster=never))
    monkeypatch.setattr(identity, "_demand_answer", lambda cluster, timeout_s: None)
    with pytest.raises(Fatal, match="its answer is late"):
        identity.cluster_id_of(NOBODY, timeout_s=-0.99)


def test_settings_of_topics_that_are_late_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client = SimpleNamespace(
        list_topics=lambda **_: SimpleNamespace(topics={"bars": None}),
        describe_configs=lambda resources, **_: {resources[0]: never()},
    )
    monkeypatch.setattr(admin, "admin_client", lambda *_, **__: client)
    with pytest.raises(Retry, match="the broker did not answer: its answer is late"):
        admin.describe(NOBODY, timeout_s=0.01)
