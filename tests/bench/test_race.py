"""The rebuild race: what peers are told and tell, one digest, and peers that are not here."""

import subprocess
from pathlib import Path

import pytest

from tapedeck.schemas.codec import PREFIX
from tapedeck.streams.columnar.rows import Rows
from tapedeck.topics.catalogue import Layout
from tests.bench import bench_rebuild, peers, race
from tests.bench.bench_rebuild import Contest, Results
from tests.bench.peer import Progress, Told
from tests.bench.report import Table

TOLD = Told("host:1", "group", "p.bars", "", "at-least-once", Path("here"), 2, 4)


def test_a_peer_reads_what_the_race_told_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TOLD.environment().items():
        monkeypatch.setenv(name, value)
    assert Told.from_environment() == TOLD


def test_a_peers_lines_are_found_among_those_of_its_libraries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress, rows = Progress(TOLD.warm, TOLD.total, writes=False), Rows()
    for number in range(TOLD.total):
        event_id, value = f"{number * 7:032x}", bytes(PREFIX.size) + b"body %d" % number
        progress.digest(event_id, b"AAPL", value)
        progress.bar()
        rows.add_one(b"AAPL", event_id, value[PREFIX.size :])
    log = tmp_path / "log"
    log.write_text(f"[WARN] a library said something\n{capsys.readouterr().out}peer: half a li")
    said = race.told_by(log)
    assert said.keys() == {"mark", "done"}
    assert said["done"][2] == rows.hexdigest()


@pytest.mark.parametrize(
    "missing, reason", [({"mvn"}, "no Maven"), ({"java", "javac"}, "no JDK"), ({"javac"}, "no JDK")]
)
def test_without_java_or_maven_the_row_says_so(
    missing: set[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def which(name: str) -> str | None:
        return None if name in missing else name

    monkeypatch.setattr(peers.shutil, "which", which)
    row = _row_of(Contest("Kafka Streams", False, lambda: peers.kafka_streams() and None))
    assert str(Table("race", (row,))).endswith(f"- CPU s         not here: {reason}")


def test_where_pip_fails_the_row_quotes_its_error_and_the_next_bench_tries_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TAPE_CACHE", str(tmp_path))
    calls = []

    def run(command: list[str], stdout: object, **_: object) -> "subprocess.CompletedProcess[bytes]":
        calls.append(command)
        fails = "pip" in command
        if fails:
            stdout.write(b"Looking\nERROR: No matching distribution found for quixstreams\n")
        return subprocess.CompletedProcess(command, int(fails))

    monkeypatch.setattr(peers.subprocess, "run", run)
    for _ in range(2):
        row = _row_of(Contest("Quix", False, lambda: peers.quix() and None))
        assert row.note == "not here: pip failed: ERROR: No matching distribution found for quixstreams"
    assert len(calls) == 4


def test_an_entrant_that_did_other_work_is_named() -> None:
    tape = Layout("tape")
    contest = Contest("ours", False, lambda: None, 6.0)
    results = Results(None)
    results._digests[tape.prefix] = "right"
    results._costs["ours"] = [race.Cost(5.0, 1.0, "right", tape)]
    results._costs["peer"] = [race.Cost(50.0, 1.0, "wrong", tape)]
    assert results.row(contest, contest).note.endswith("same digest")
    assert results.row(contest, contest).met
    other = results.row(Contest("peer", False, lambda: None), contest)
    assert "10.0 x ours; OTHER DIGEST" in other.note


def test_the_short_race_is_run_without_peers_and_the_full_one_names_them_all() -> None:
    assert len(list(bench_rebuild.contests(bench_rebuild.SHORT))) == 2
    names = " ".join(each.name for each in bench_rebuild.contests(bench_rebuild.FULL))
    assert all(each in names for each in ("Kafka Streams, exactly", "Quix Streams, exactly", "plain Faust"))


def _row_of(contest: Contest):
    results = Results(None)
    results.run(contest)
    return results.row(contest, contest)
