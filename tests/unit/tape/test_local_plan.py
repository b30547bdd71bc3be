"""The worker plan, the places and the download's errors of the local stack."""

import os
from pathlib import Path

import pytest

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.local import jars
from tapedeck.tape.local.places import cache_dir, free_ports, in_words, size_of, stack_folder
from tapedeck.tape.local.plan import apart, paper_credentials, workers
from tapedeck.tape.local.process import tail


def test_plan_has_one_dispatcher_per_account_and_each_stage_once() -> None:
    plan = workers(TOPOLOGY, Config(accounts=EXAMPLE_ACCOUNTS))
    names = [worker.name for worker in plan]
    assert names == [
        "exchange",
        "features",
        "decide",
        "news",
        "scorer",
        "dispatch-large",
        "dispatch-tiny",
        "sink",
    ]
    stages = [stage for worker in plan if "worker" in worker.argv for stage in worker.argv[4:]]
    assert sorted(stages) == sorted(spec.name for spec in TOPOLOGY.market)
    shared = {worker.name: worker.stages for worker in plan if worker.stages}
    assert shared["features"] == ("features",) and shared["decide"] == ("scores", "watchlist", "signals")
    assert {"stories", "sentiment_windows", "surges"} <= set(shared["news"])
    assert all(worker.says_ready for worker in plan)


def test_stages_with_logins_of_their_own_run_apart() -> None:
    plan = apart(workers(TOPOLOGY, Config(accounts=EXAMPLE_ACCOUNTS)))
    names = [worker.name for worker in plan]
    assert names == [
        "exchange", "features", "scores", "watchlist", "signals", "stories", "post_links",
        "sentiment_windows", "mentions", "surges", "scorer", "dispatch-large", "dispatch-tiny", "sink",
    ]  # fmt: skip
    assert [worker.argv[3:] for worker in plan[1:10]] == [("worker", each) for each in names[1:10]]


def test_accounts_get_paper_credentials_and_named_ones_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TAPE_TINY_KEY", "my own")
    monkeypatch.setenv("TAPE_TINY_SECRET_FILE", "secret")
    monkeypatch.delenv("TAPE_TINY_SECRET", raising=False)
    found = paper_credentials(Config(accounts=EXAMPLE_ACCOUNTS))
    assert set(found) == {"TAPE_LARGE_KEY", "TAPE_LARGE_SECRET"}


def test_stack_folder_is_named_by_option_then_environment_then_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAPE_HOME", raising=False)
    assert stack_folder(None) == tmp_path / ".tape" / "local"
    monkeypatch.setenv("TAPE_HOME", str(tmp_path / "elsewhere"))
    assert stack_folder(None) == tmp_path / "elsewhere"
    assert stack_folder("demo") == tmp_path / ".tape" / "demo"


def test_cache_folder_follows_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPE_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path


def test_size_counts_a_file_with_two_names_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(1 << 20))
    once = size_of(tmp_path)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert size_of(tmp_path) == once >= 1 << 20
    assert (in_words(3 << 20), in_words(3 << 29)) == ("3 MiB", "1.5 GiB")


def test_tail_of_a_missing_and_of_an_empty_log_says_so(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log") == "(no log)"
    (tmp_path / "empty.log").touch()
    assert tail(tmp_path / "empty.log") == "(the log is empty)"


def test_no_network_and_no_cache_names_the_missing_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(Fatal, match=r"missing artifact: kafka_2\.13-4\.3\.1\.pom") as refused:
        jars.classpath(tmp_path)
    assert "TAPE_CACHE" in str(refused.value) and "KAFKA_BOOTSTRAP_SERVERS" in str(refused.value)
    assert not jars.folder(tmp_path).exists(), "a half download never looks like a whole one"


def test_cache_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Fatal, match="the cache folder cannot be written"):
        jars.classpath(tmp_path / "file" / "cache")


def test_ports_of_one_broker_differ() -> None:
    """Each was once drawn by itself, and two listeners now and then got the same one."""
    found = free_ports(60)
    assert len(set(found)) == 60
    with pytest.raises(Fatal, match="no free port was found"):
        free_ports(300)
