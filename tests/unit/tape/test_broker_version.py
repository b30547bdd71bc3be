"""A data folder carries the version of the broker that wrote it, and another version does not open it."""

from pathlib import Path

import pytest

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.local import jars
from tapedeck.tape.local.kafka import EmbeddedKafka, check_version, made_by


def folder_of(tmp_path: Path, version: str | None) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    (data / "meta.properties").write_text("cluster.id=tape\n")
    if version is not None:
        (data / "kafka.version").write_text(f"{version}\n")
    return tmp_path


def test_a_folder_of_this_version_opens_and_says_so(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, jars.KAFKA_VERSION)
    check_version(folder)
    assert made_by(folder) == jars.KAFKA_VERSION


@pytest.mark.parametrize("version", ["4.4.0", "3.9.1"])
def test_a_folder_of_another_version_is_refused_by_name_and_nothing_is_started(
    tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, version)
    monkeypatch.setattr(jars, "classpath", lambda cache: "")
    broker = EmbeddedKafka(folder, tmp_path)
    with pytest.raises(Fatal, match=f"Kafka {version}.*Kafka {jars.KAFKA_VERSION}") as caught:
        broker.launch()
    assert str(folder) in str(caught.value) and "tape record" in str(caught.value)
    assert not broker.launched and made_by(folder) == version


def test_a_new_folder_and_one_from_before_versions_were_recorded_open(tmp_path: Path) -> None:
    check_version(tmp_path)
    assert made_by(tmp_path) == ""
    check_version(folder_of(tmp_path, None))
