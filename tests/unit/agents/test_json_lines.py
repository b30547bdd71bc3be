"""The log as JSON: one event name a line, and no secret."""

import json
import logging
import sys

import pytest

from tapedeck.agents import journal
from tapedeck.agents.json_lines import JsonLines
from tapedeck.schemas.errors import Fatal


def line(template: str, *values: object, name: str = "tapedeck.runner", secrets: dict | None = None) -> dict:
    record = logging.LogRecord(name, logging.WARNING, "", 0, template, values, None)
    return json.loads(JsonLines("features-0", secrets or {}).format(record))


def test_a_line_has_its_time_with_zone_level_process_and_one_name_for_its_kind() -> None:
    first, second = line("%s/%d starts at %s", "features", 1, 5), line("%s/%d starts at %s", "scores", 2, 6)
    assert first["event"] == second["event"] == "runner.starts_at"
    assert (first["level"], first["process"], first["logger"]) == ("WARNING", "features-0", "tapedeck.runner")
    assert first["message"] == "features/1 starts at 5" and first["time"].endswith("+00:00")


def test_a_library_has_a_line_of_the_same_form() -> None:
    assert (
        line("Heartbeat failed: %r", 1, name="aiokafka.coordinator")["event"]
        == "coordinator.heartbeat_failed"
    )


def test_secrets_are_not_in_a_line() -> None:
    environment = {"KAFKA_SASL_PASSWORD": "s3cr3t-of-kafka", "DATABASE_PASSWORD_FILE": "/run/secrets/db"}
    told = line(
        "with %s, postgresql://audit:hush@db/x, password=abc, file %s", "s3cr3t-of-kafka", "/run/secrets/db",
        secrets=environment,
    )["message"]  # fmt: skip
    assert "s3cr3t" not in told and "hush" not in told and "abc" not in told
    assert "postgresql://audit:***@db/x" in told and "/run/secrets/db" in told


def test_an_error_comes_on_the_same_line_without_its_secret() -> None:
    try:
        raise ValueError("token=abcdef")
    except ValueError:
        record = logging.LogRecord("tapedeck.x", logging.ERROR, "", 0, "it failed", (), sys.exc_info())
    text = JsonLines("p", {}).format(record)
    assert "\n" not in text and "abcdef" not in text and "ValueError" in json.loads(text)["error"]


def test_another_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPE_LOG", "xml")
    with pytest.raises(Fatal, match="TAPE_LOG"):
        journal.set_up()
