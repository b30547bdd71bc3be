"""The list of a deployment's processes: complete, and one name, port and lease each."""

import re
from pathlib import Path

import pytest

from tapedeck.connectors.alerts import settings as alerts
from tapedeck.connectors.kafka.principals import principals
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS, example_account
from tapedeck.streams.config.text_groups import Sentiment
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import Topology
from tapedeck.tape.cli.main import COMMANDS
from tapedeck.tape.deployment.processes import HEALTH_PORT, Kind, Need, Spread, long_lived, processes
from tapedeck.topics.catalogue import Layout
from tests.support.cases import REPOSITORY

CONFIG = Config(accounts=EXAMPLE_ACCOUNTS)
FOUND = processes(TOPOLOGY, CONFIG)
RUNS_LONG = re.compile(
    r"from tapedeck\.tape\.serving import|from tapedeck\.agents\.process import run"
    r"|from tapedeck\.tape\.alerting\.watch import watch"
)


def commands_that_run_long() -> set[str]:
    """The modules of commands that serve their health while they run."""
    modules = {entry.path.split(":")[0] for entry in COMMANDS.values()}
    text = {name: (REPOSITORY / "tape" / "cli" / f"{name}.py").read_text() for name in modules}
    return {name for name, source in text.items() if RUNS_LONG.search(source)}


def test_every_command_that_serves_its_health_is_in_the_list() -> None:
    found = commands_that_run_long()
    assert len(found) >= 6
    assert found == {process.args[0] for process in FOUND if process.health_port}


def test_every_stage_has_a_process_and_every_account_a_dispatcher() -> None:
    assert [p.stage for p in FOUND if p.kind is Kind.STAGE] == [spec.name for spec in TOPOLOGY.market]
    assert [p.account for p in FOUND if p.kind is Kind.DISPATCHER] == ["large", "tiny"]
    single = {spec.name for spec in TOPOLOGY.market if spec.scale == "single"}
    assert single and {p.stage for p in FOUND if p.stage and p.spread is Spread.ONE} == single


def test_every_principal_has_a_process() -> None:
    known = principals(TOPOLOGY, Layout(""), [each.account_id for each in EXAMPLE_ACCOUNTS])
    assert {p.login for p in FOUND if p.login} == set(known)
    assert all(bool(p.login) is (Need.KAFKA in p.needs) for p in FOUND)


def test_names_are_dns_labels_and_ports_of_one_network_differ() -> None:
    services = [p.service for p in FOUND]
    assert len(set(services)) == len(services)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name) for name in services)
    shared = [p.health_port for p in FOUND if p.beside_exchange]
    assert len(shared) == 5 and len(set(shared)) == len(shared)
    assert {p.health_port for p in long_lived(FOUND) if not p.beside_exchange} == {HEALTH_PORT}


def test_secrets_are_those_that_a_process_needs_and_no_more() -> None:
    of = {p.name: set(p.secrets) for p in FOUND}
    assert of["dispatch-tiny"] == {"DATABASE_PASSWORD", "TAPE_TINY_KEY", "TAPE_TINY_SECRET"}
    assert of["features"] == set() and of["sink"] == {"DATABASE_PASSWORD"}
    assert of["exchange"] == {f"TAPE_{a}_{k}" for a in ("LARGE", "TINY") for k in ("KEY", "SECRET")}


def test_the_doctor_sends_alarms_where_a_sink_is_set_and_keeps_what_it_told() -> None:
    (doctor,) = (p for p in FOUND if p.kind is Kind.DOCTOR)
    assert doctor.is_long and doctor.optional and doctor.stateful and doctor.beside_exchange
    told = {*doctor.if_set, *doctor.secrets_if_set}
    assert {"TAPE_ALERT_WEBHOOK", "TAPE_ALERT_EMAIL", "TAPE_SMTP_PASSWORD"} <= told
    named = re.findall(r"TAPE_ALERT_\w+|TAPE_SMTP_\w+", Path(alerts.__file__).read_text())
    assert len(told) == 7 and told == set(named)
    assert not set(doctor.secrets) & told


def test_credentials_in_a_file_need_no_variable() -> None:
    account = EXAMPLE_ACCOUNTS[0].model_copy(update={"key_ref": "./key", "secret_ref": "./secret"})
    found = processes(TOPOLOGY, Config(accounts=(account,)))
    assert {name for p in found if p.account for name in p.secrets} == {"DATABASE_PASSWORD"}


def test_a_smaller_topology_has_fewer_processes_and_no_scorer() -> None:
    small = Topology(TOPOLOGY.stage("features"))
    names = {p.name for p in processes(small, Config())}
    assert "features" in names and not {"signals", "scorer", "dispatch-large"} & names


def test_an_engine_that_needs_an_extra_says_so() -> None:
    finbert = Config(sentiment=Sentiment(engine="finbert"))
    assert [p.extra for p in processes(TOPOLOGY, finbert) if p.kind is Kind.SCORER] == ["ml"]
    assert [p.extra for p in FOUND if p.kind is Kind.SCORER] == [""]


def test_two_accounts_with_one_service_name_are_refused() -> None:
    alike = (example_account("a-b", "tiny"), example_account("a_b", "tiny").model_copy(
        update={"broker_account_id": "other"}
    ))  # fmt: skip
    with pytest.raises(Fatal, match=r"dispatch-a-b and dispatch-a_b have one name.*rename the stage"):
        processes(TOPOLOGY, Config(accounts=alike))
