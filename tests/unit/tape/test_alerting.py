"""What is sent of a diagnosis, once; and what a sink that fails, a restart or a stop signal changes."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tapedeck.connectors.alerts.notice import Notice
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.tape.alerting.book import Book
from tapedeck.tape.alerting.deliver import Delivery, Memory
from tapedeck.tape.alerting.watch import LOOK_MOST_S, Pulse, Stop, Stopped, watch
from tapedeck.tape.cli.main import app
from tapedeck.tape.doctor.diagnose import check_named, diagnose
from tapedeck.tape.doctor.findings import Diagnosis, Finding, Severity
from tapedeck.tape.doctor.snapshot import Snapshot
from tapedeck.tape.status import collect
from tests.support.breaks import broker_away
from tests.support.doctor import IN_SESSION, healthy, without
from tests.support.sinks import web_server

T0 = IN_SESSION
HOUR = 60 * MINUTE_US
WEB, MAIL = "TAPE_ALERT_WEBHOOK", "TAPE_ALERT_EMAIL"


class Taker:
    """A sink in memory. ``error`` is raised instead of taking."""

    at_once = 1

    def __init__(self) -> None:
        self.got: list[Notice] = []
        self.asked = 0
        self.error: Exception | None = None

    def send(self, notices: Sequence[Notice]) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.got += notices

    def take(self) -> list[tuple[str, str, str]]:
        got, self.got = self.got, []
        return [(str(each.kind), each.check, each.stage) for each in got]


def fault(check: str = "lag", severity: Severity = Severity.RED, stage: str = "s", what: str = "w", *,
          follows: bool = False) -> Finding:  # fmt: skip
    return Finding(check=check, severity=severity, what=what, stage=stage, since=T0 - HOUR, follows=follows)


def found(*findings: Finding, checks: tuple[str, ...] = ("lag", "disk", "broker")) -> Diagnosis:
    return Diagnosis(checks, findings)


class Told:
    """One book over time."""

    def __init__(self) -> None:
        self.book = Book()
        self.notices: list[Notice] = []

    def look(self, diagnosis: Diagnosis, at: int, repeat_us: int = HOUR) -> list[str]:
        due = self.book.due(diagnosis, at, repeat_us=repeat_us, pipeline="p")
        for each in due:
            self.book = self.book.told(each, diagnosis)
        self.notices += due
        return [f"{each.kind} {each.check}" for each in due]


def test_an_alert_is_told_once_and_again_after_the_set_time_and_when_it_is_over() -> None:
    told = Told()
    assert told.look(found(fault(what="40 s")), T0) == ["alert lag"]
    assert told.look(found(fault(what="70 s")), T0 + MINUTE_US) == [], "other numbers are no other alert"
    assert told.look(found(fault()), T0 + HOUR - 1) == []
    assert told.look(found(fault()), T0 + HOUR) == ["repeat lag"]
    assert told.look(found(fault()), T0 + HOUR + MINUTE_US) == []
    assert told.look(found(), T0 + 2 * HOUR - 1) == ["recovery lag"]
    assert told.look(found(), T0 + 3 * HOUR) == []
    assert told.look(found(fault()), T0 + 4 * HOUR) == ["alert lag"]
    first, again, over, next_ = told.notices
    assert first.alert == again.alert == over.alert != next_.alert
    assert len({each.id for each in told.notices}) == 4
    assert (over.severity, over.since, first.since) == ("green", T0 - HOUR, T0 - HOUR)


def test_an_amber_is_not_repeated_and_gets_told_when_it_is_red_but_only_once() -> None:
    told = Told()
    assert told.look(found(fault(severity=Severity.AMBER)), T0) == ["alert lag"]
    assert told.look(found(fault(severity=Severity.AMBER)), T0 + 5 * HOUR) == []
    assert told.look(found(fault()), T0 + 5 * HOUR) == ["worse lag"]
    assert told.look(found(fault(severity=Severity.AMBER)), T0 + 5 * HOUR + 1) == []
    assert told.look(found(fault()), T0 + 5 * HOUR + 2) == [], "what flaps is one alert"


def test_more_findings_of_one_check_are_worse_and_another_stage_is_another_alert() -> None:
    told = Told()
    assert told.look(found(fault()), T0) == ["alert lag"]
    assert told.look(found(fault(), fault(what="v")), T0) == ["worse lag"]
    assert told.notices[-1].more == 1
    assert told.look(found(fault(), fault(what="v"), fault(stage="t")), T0) == ["alert lag"]


def test_no_repeat_if_the_time_is_nought_and_one_if_the_clock_was_set_back() -> None:
    told = Told()
    assert told.look(found(fault()), T0, 0) == ["alert lag"]
    assert told.look(found(fault()), T0 + 90 * HOUR, 0) == []
    assert told.look(found(fault()), T0 - HOUR) == ["repeat lag"]


def test_nothing_is_over_while_its_check_knows_nothing_or_did_not_run() -> None:
    told = Told()
    told.look(found(fault()), T0)
    unknown = fault(severity=Severity.UNKNOWN, stage="")
    assert told.look(found(unknown, fault("broker")), T0 + 1) == ["alert lag", "alert broker"]
    assert told.look(found(checks=("disk",)), T0 + 2) == []
    assert sorted(told.look(found(), T0 + 3)) == ["recovery broker", "recovery lag", "recovery lag"]


def test_a_broker_that_is_away_is_one_notice_and_not_one_for_all_that_is_unknown() -> None:
    snap = broker_away(healthy())
    assert len(diagnose(snap).faults) > 10, "the fault happened"
    due = Book().due(diagnose(snap), T0, repeat_us=HOUR, pipeline="p")
    assert [each.check for each in due] == ["broker"]
    assert Book().due(found(fault(follows=True)), T0, repeat_us=HOUR, pipeline="p"), "without a cause"


def delivery(path: Path, **sinks: Taker) -> Delivery:
    made = Delivery(
        sinks={{"web": WEB, "mail": MAIL}[name]: sink for name, sink in sinks.items()},
        memory=Memory(path), pipeline="p", repeat_us=HOUR,
    )  # fmt: skip
    made.memory.load()
    return made


def ill(later_s: int = 0) -> Snapshot:
    return replace(without(healthy(IN_SESSION + later_s * SECOND_US), "sink"), sinks=(WEB, MAIL))


def well(later_s: int = 0) -> Snapshot:
    return replace(healthy(IN_SESSION + later_s * SECOND_US), sinks=(WEB, MAIL))


def test_a_restart_repeats_nothing_and_still_tells_of_the_recovery(tmp_path: Path) -> None:
    web, path = Taker(), tmp_path / "state" / "alerts.json"
    delivery(path, web=web).deliver(ill())
    assert ("alert", "heartbeats", "sink") in web.take()
    assert path.stat().st_mode & 0o077 == 0
    delivery(path, web=web).deliver(ill(30))
    assert web.take() == []
    assert delivery(path, web=web).deliver(well(60)).exit_code == 0
    assert ("recovery", "heartbeats", "sink") in web.take()


def test_without_its_file_a_restart_tells_it_again_and_a_damaged_one_is_set_aside(tmp_path: Path) -> None:
    web, path = Taker(), tmp_path / "alerts.json"
    for damage in ("{", "[]", '{"format": 9, "sinks": {}}', '{"format": 1, "sinks": {"a": 3}}',
                   '{"format": 1, "sinks": {"a": {"failure": null, "open": [{"check": 1}]}}}'):  # fmt: skip
        path.write_text(damage)
        delivery(path, web=web).deliver(ill())
        assert ("alert", "heartbeats", "sink") in web.take(), damage
        assert path.with_suffix(".json.damaged").read_text() == damage


def test_a_sink_that_fails_is_a_finding_that_the_others_are_told_and_stops_nothing(tmp_path: Path) -> None:
    web, post, path = Taker(), Taker(), tmp_path / "alerts.json"
    web.error = Retry("https://h answered 500", remedy="look there")
    diagnosis = delivery(path, web=web, mail=post).deliver(ill())
    (failed,) = (each for each in diagnosis.faults if each.check == "alerts")
    assert (failed.severity, failed.stage, failed.remedy) == (Severity.RED, WEB, "look there")
    assert failed.what.endswith("takes no alarms: https://h answered 500") and failed.since == ill().now
    assert web.asked == 1, "the rest waits for the next look"
    told = post.take()
    assert ("alert", "heartbeats", "sink") in told and told[-1] == ("alert", "alerts", WEB)
    web.error = None
    after = delivery(path, web=web, mail=post).deliver(ill(30))
    assert "alerts" not in {each.check for each in after.faults}
    first, *rest = web.take()
    assert first == ("recovery", "alerts", WEB), "it says what it missed"
    assert ("alert", "heartbeats", "sink") in rest
    assert post.take() == [("recovery", "alerts", WEB)]


def test_a_sink_that_failed_is_red_in_a_doctor_that_sends_nothing(tmp_path: Path) -> None:
    web, path = Taker(), tmp_path / "alerts.json"
    web.error = ValueError("a secret in words of a library")
    delivery(path, web=web).deliver(ill())
    memory = Memory(path)
    memory.load()
    (seen,) = memory.failed([WEB])
    assert seen.what == "ValueError in this release"
    assert diagnose(replace(well(), sink_faults=(seen,))).exit_code == 2
    web.error = None
    delivery(path, web=web).deliver(well(60))
    assert web.take() == [("recovery", "alerts", WEB)], "the probe is sent though nothing is wrong"


def test_a_state_file_that_cannot_be_written_is_a_finding_and_alarms_go_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = Taker()
    made = delivery(tmp_path / "alerts.json", web=web)
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(made.memory, "save", lambda: (_ for _ in ()).throw(full))
    diagnosis = made.deliver(ill())
    assert "No space left on device" in " ".join(each.what for each in diagnosis.faults)
    assert ("alert", "heartbeats", "sink") in web.take()


def test_one_check_alone_sends_and_ends_alerts_of_that_check_alone(tmp_path: Path) -> None:
    web, path = Taker(), tmp_path / "alerts.json"
    delivery(path, web=web).deliver(ill(), [check_named("heartbeats")])
    assert web.take() == [("alert", "heartbeats", "sink")]
    delivery(path, web=web).deliver(well(30), [check_named("disk")])
    assert web.take() == []


def test_two_that_send_are_refused(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "alerts.json")
    with memory.alone(), pytest.raises(Fatal, match="another `tape doctor` sends"), memory.alone():
        raise AssertionError("both hold it")
    with memory.alone():
        pass


def looking(*found: object) -> tuple[Callable[[Stop], Diagnosis], list[float]]:
    """What each look gives, and the waits; a last wait ends it as a signal does."""
    waits: list[float] = []
    left = [*found]

    def look(stop: Stop) -> Diagnosis:
        each = left.pop(0)
        if isinstance(each, Exception):
            raise each
        assert isinstance(each, Diagnosis)
        return each

    return look, waits


def test_the_watch_outlives_a_look_that_fails_and_logs_a_headline_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    red = found(fault())
    look, waits = looking(red, red, RuntimeError("x"), found(fault(what="other")))

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 4:
            raise Stopped

    stop = Stop()
    stop.listen = lambda: None  # type: ignore[method-assign]  # the test runner keeps its signals
    watch(look, 30, stop=stop, wait=wait)
    assert len(waits) == 4 and all(29 < each <= 30 for each in waits)
    said = [each.getMessage() for each in caplog.records if each.name == "tapedeck.doctor"]
    assert [each for each in said if "red lag" in each] == ["red lag: w", "red lag: other"]
    assert "a look failed: RuntimeError" in said and said[-1] == "the doctor stops"


def test_a_stop_waits_for_the_notices_that_are_being_sent() -> None:
    stop, sent = Stop(), []
    with pytest.raises(Stopped), stop.held():
        stop._on(signal.SIGTERM, None)
        sent.append("all")
    assert sent == ["all"]
    with pytest.raises(Stopped):
        Stop()._on(signal.SIGTERM, None)


def test_the_watch_is_ready_after_a_look_and_does_not_live_if_looks_do_not_end() -> None:
    now = [0.0]
    pulse = Pulse(30, lambda: now[0])
    assert pulse.missing() and not pulse.stuck()
    pulse.beat()
    assert not pulse.missing()
    now[0] = 31 + LOOK_MOST_S
    assert "has not ended a look" in pulse.stuck()["doctor"]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A broker that is not there, and a file for what was told."""
    for name in (WEB, MAIL, "DATABASE_URL", "TAPE_CONFIG", "TAPE_PREFIX", "KAFKA_CLUSTER_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAPE_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("TAPE_ALERT_STATE", str(tmp_path / "alerts.json"))
    monkeypatch.setattr(collect, "ANSWER_S", 0.3)
    return tmp_path


def test_the_command_sends_once_and_its_exit_code_stays(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_server() as hooks:
        monkeypatch.setenv(WEB, hooks.url)
        monkeypatch.setenv("TAPE_ALERT_WEBHOOK_SECRET", "hidden-secret")
        for _ in range(2):
            done = CliRunner().invoke(app, ["doctor", "--alert"])
            assert done.exit_code == 2 and done.output.startswith("red broker:"), done.output
        bodies = [json.loads(body) for _, body in hooks.posts]
        assert [(each["kind"], each["check"]) for each in bodies if each["check"] == "broker"] == [
            ("alert", "broker")
        ]
        assert bodies[0]["pipeline"] == "127.0.0.1:1"
        hooks.statuses = [500] * 9
        (nowhere / "alerts.json").unlink()
        done = CliRunner().invoke(app, ["doctor", "--alert"])
    assert done.exit_code == 2 and f"the alert sink {WEB} takes no alarms" in done.output
    assert "path-token" not in done.output and "hidden-secret" not in done.output
    plain = CliRunner().invoke(app, ["doctor", "--check", "alerts"])
    assert plain.exit_code == 2 and "answered 500" in plain.output, "a later doctor knows of it"


@pytest.mark.parametrize(
    "words, variables, said",
    [
        (["--watch", "30"], {}, "no alert sink is set"),
        (["--watch", "30", "--json"], {}, "--watch goes with neither"),
        (["--alert"], {WEB: "http://127.0.0.1:1", "TAPE_ALERT_REPEAT_S": "5"}, "TAPE_ALERT_REPEAT_S is not"),
    ],
)
@pytest.mark.usefixtures("nowhere")
def test_bad_input_is_refused(
    words: list[str], variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["doctor", *words])
    assert isinstance(done.exception, Fatal) and said in str(done.exception)


def test_a_watching_doctor_sends_serves_its_health_and_ends_at_sigterm(nowhere: Path) -> None:
    with web_server() as hooks:
        environment = {**os.environ, WEB: hooks.url, "TAPE_READY_FILE": str(nowhere / "ready")}
        code = "from tapedeck.tape.entry import run; run()"
        command = [sys.executable, "-c", code, "doctor", "--watch", "5"]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            lines: list[str] = []
            for line in process.stderr:
                lines.append(line)
                if "red broker" in line and "tapedeck.doctor" in line:
                    break
            address = next(line.split(" on ")[1].strip() for line in lines if "health of doctor" in line)
            with urllib.request.urlopen(f"{address}/health/live", timeout=5) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGTERM)
            rest = process.communicate(timeout=30)[1]
        finally:
            process.kill()
    assert process.returncode == 0, rest
    assert "the doctor stops" in rest and "Traceback" not in rest
    assert any(json.loads(body)["check"] == "broker" for _, body in hooks.posts)
    assert "path-token" not in "".join(lines) + rest


def test_status_watches_until_it_is_stopped(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tapedeck.tape.cli import status

    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=sleep))
    done = CliRunner().invoke(app, ["status", "--watch", "--json"])
    assert len(looks) == 3
    assert done.output.count('"headline": "red broker') == 3, "each look is shown"
