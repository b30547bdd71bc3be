"""Alert sinks: what a receiver gets and can check, and what a server can do to them."""

import hashlib
import hmac
import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tapedeck.connectors.alerts import bounded, mail
from tapedeck.connectors.alerts.log_file import LogFile
from tapedeck.connectors.alerts.mail import Mail, Server
from tapedeck.connectors.alerts.notice import Kind, Notice
from tapedeck.connectors.alerts.settings import repeat_us, sinks_in
from tapedeck.connectors.alerts.webhook import IDENTITY, SIGNATURE, TIMESTAMP, Webhook, signature
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.secrets import Secret
from tapedeck.schemas.errors import Fatal, Retry, TapeError
from tests.support.certificates import Certificates
from tests.support.sinks import Hooks, MailServer, mail_server, web_server

AT = 1_771_340_400_000_000
SECRET, PASSWORD = "s3cret-of-the-webhook", "p4ssword-of-the-mail"
NOTICE = Notice(
    id="id-1", alert="alert-1", kind=Kind.ALERT, severity="red", check="heartbeats",
    what="signals has been silent\nfor 40 s ö", since=AT - 40_000_000, at=AT, stage="signals",
    remedy="tape logs signals", pipeline="stack local", more=2,
)  # fmt: skip


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded.tried, "__kwdefaults__", {"tries": 2, "pause_s": 0.0})


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with web_server() as made:
        yield made


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as made:
        yield made


def webhook(url: str, secret: str = SECRET, try_s: float = 5.0) -> Webhook:
    return Webhook(
        address=Secret("TAPE_ALERT_WEBHOOK", url),
        secret=Secret("TAPE_ALERT_WEBHOOK_SECRET", secret),
        try_s=try_s,
    )


def mailer(server: MailServer, user: str = "ops@x.example", try_s: float = 5.0) -> Mail:
    return Mail(
        to=("a@x.example", "b@x.example"),
        server=Server("smtp", "127.0.0.1", server.port, user),
        password=Secret("TAPE_SMTP_PASSWORD", PASSWORD if user else ""),
        try_s=try_s,
    )


def is_signed(headers: dict[str, str], body: bytes, secret: str = SECRET) -> bool:
    """As docs/operations.md tells a receiver to check it."""
    made = hmac.new(secret.encode(), f"{headers[TIMESTAMP]}.".encode() + body, hashlib.sha256)
    return hmac.compare_digest(f"sha256={made.hexdigest()}", headers[SIGNATURE])


def test_a_webhook_gets_all_of_a_notice_with_a_signature_that_holds_for_these_bytes_alone(
    hooks: Hooks,
) -> None:
    webhook(hooks.url).send([NOTICE])
    ((headers, body),) = hooks.posts
    assert is_signed(headers, body)
    assert not is_signed(headers, body.replace(b"red", b"rad")), "a changed body"
    assert not is_signed({**headers, TIMESTAMP: str(int(headers[TIMESTAMP]) + 1)}, body), "a replayed one"
    assert not is_signed(headers, body, "another secret")
    assert abs(int(headers[TIMESTAMP]) - SystemClock().now() // 1_000_000) < 60
    assert headers[IDENTITY] == "id-1"
    assert json.loads(body) == {
        "id": "id-1", "alert": "alert-1", "kind": "alert", "severity": "red", "check": "heartbeats",
        "what": NOTICE.what, "since": "2026-02-17T14:59:20Z", "at": "2026-02-17T15:00:00Z",
        "stage": "signals", "remedy": "tape logs signals", "pipeline": "stack local", "more": 2,
    }  # fmt: skip
    assert SECRET not in f"{headers}{body!r}"


def test_the_signature_is_the_one_that_is_documented() -> None:
    made = signature("key", "1771340400", b'{"a":1}')
    assert made == "sha256=" + hmac.new(b"key", b'1771340400.{"a":1}', hashlib.sha256).hexdigest()


def test_a_webhook_without_a_secret_sends_no_signature(hooks: Hooks) -> None:
    webhook(hooks.url, "").send([NOTICE])
    assert SIGNATURE not in hooks.posts[0][0]


@pytest.mark.parametrize(
    "statuses, error, posts",
    [
        ([503], None, 2), ([503, 502], Retry, 2), ([429, 200], None, 2), ([404], Fatal, 1),
        ([302], Fatal, 1), ([401], Fatal, 1), ([204], None, 1),
    ],
)  # fmt: skip
def test_what_may_pass_is_tried_again_and_what_will_not_is_not(
    hooks: Hooks, statuses: list[int], error: type[TapeError] | None, posts: int
) -> None:
    hooks.statuses = [*statuses]
    if error is None:
        webhook(hooks.url).send([NOTICE])
    else:
        with pytest.raises(error, match=str(statuses[-1])) as caught:
            webhook(hooks.url).send([NOTICE])
        assert "path-token" not in str(caught.value) and SECRET not in str(caught.value)
    assert len(hooks.posts) == posts, "no redirection is followed"
    assert len({headers[IDENTITY] for headers, _ in hooks.posts}) == 1


def test_a_server_that_drips_bytes_is_cut_at_the_end_of_the_try(hooks: Hooks) -> None:
    hooks.drip_s = 0.05
    began = time.monotonic()
    with pytest.raises(Retry, match=r"has not taken it within 0\.3 s"):
        webhook(hooks.url, try_s=0.3).send([NOTICE])
    assert time.monotonic() - began < 3
    assert len(hooks.posts) == 2, "the fault happened, twice"


@contextmanager
def mute() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x"


def test_a_server_that_never_answers_and_one_that_is_away_are_bounded_and_named() -> None:
    with mute() as url, pytest.raises(Retry, match=r"http://127.0.0.1:\d+ has not taken it"):
        webhook(url, try_s=0.2).send([NOTICE])
    with pytest.raises(Retry, match=r"http://127.0.0.1:1 cannot be reached: Connection refused"):
        webhook("http://127.0.0.1:1/path-token").send([NOTICE])


def test_a_certificate_that_is_not_trusted_is_named(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    context = certificates.serving(certificates.unknown)
    with web_server() as hooks, mail_server() as server:
        server.context = context
        remote = replace(mailer(server), server=_Remote("smtp", "127.0.0.1", server.port, "ops@x.example"))
        with pytest.raises(Retry, match="signed by an authority that is not trusted here"):
            remote.send([NOTICE])
        assert server.mails == [] and server.logins == [], "no password before a good certificate"
        plain = hooks.url.replace("http:", "https:")
        with pytest.raises(Retry, match=r"(does not use TLS|cannot be reached|TLS handshake)"):
            webhook(plain).send([NOTICE])


class _Remote(Server):
    """A server on loopback that counts as one elsewhere."""

    @property
    def is_here(self) -> bool:
        return False


def test_mail_elsewhere_is_encrypted_or_not_sent(
    server: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = replace(mailer(server), server=_Remote("smtp", "127.0.0.1", server.port, "ops@x.example"))
    with pytest.raises(Fatal, match="offers no STARTTLS"):
        remote.send([NOTICE])
    assert server.mails == [] and server.logins == []
    certificates = Certificates(tmp_path)
    server.context = certificates.serving(certificates.good)
    trusting = mail.ssl.create_default_context
    monkeypatch.setattr(mail.ssl, "create_default_context", lambda: trusting(cafile=certificates.trusted))
    remote.send([NOTICE])
    assert (len(server.mails), server.encrypted) == (1, [True])
    assert server.logins == [("ops@x.example", PASSWORD)]


def test_a_mail_has_all_notices_and_a_subject_of_one_line(server: MailServer) -> None:
    other = replace(
        NOTICE, id="id-2", kind=Kind.RECOVERY, severity="green", check="disk", what="full", more=0
    )
    mailer(server).send([NOTICE, other])
    (text,) = server.mails
    head, _, body = text.partition("\r\n\r\n")
    assert "To: a@x.example, b@x.example" in head and "From: ops@x.example" in head
    assert "Auto-Submitted: auto-generated" in head and "<id-1@" in head
    assert head.count("Subject:") == 1
    assert "recovered disk: full" in body and "to mend it: tape logs signals" in body
    assert "since 2026-02-17T14:59:20Z" in body and "pipeline: stack local" in body
    assert server.heard.count("RCPT") == 2
    assert PASSWORD not in text


@pytest.mark.parametrize(
    "verb, reply, error, words",
    [
        ("AUTH", "535 bad login {words} " + PASSWORD, Fatal, "refused the login of ops@x.example: 535"),
        ("RCPT", "550 nobody", Fatal, "refused a@x.example, b@x.example: 550 nobody"),
        ("RCPT", "451 later", Retry, "451 later"),
        ("MAIL", "421 busy", Retry, "answered 421"),
        ("DATA", "554 spam", Fatal, "answered 554"),
    ],
)
def test_a_mail_server_that_refuses_is_quoted_without_the_password(
    server: MailServer, verb: str, reply: str, error: type[TapeError], words: str
) -> None:
    server.refuses = {verb: reply}
    with pytest.raises(error) as caught:
        mailer(server).send([NOTICE])
    assert words in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert server.mails == [] and verb in server.heard


def test_a_recipient_that_is_refused_alone_is_told() -> None:
    with mail_server() as server:
        refused = ["250 ok", "550 nobody"]
        server._reply = lambda verb, words: (  # type: ignore[method-assign]  # the second recipient alone
            f"{refused.pop(0)}\r\n" if verb == "RCPT" else MailServer._reply(server, verb, words)
        )
        with pytest.raises(Fatal, match=r"refused b@x\.example"):
            mailer(server).send([NOTICE])


def test_a_mute_mail_server_is_cut(server: MailServer) -> None:
    server.is_mute = True
    began = time.monotonic()
    with pytest.raises(Retry, match=r"has not taken it within 0\.2 s"):
        mailer(server, try_s=0.2).send([NOTICE])
    assert time.monotonic() - began < 3


def test_a_log_file_has_a_line_each_and_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    log = LogFile(path=tmp_path / "logs" / "alerts.log")
    log.send([NOTICE])
    log.send([NOTICE, NOTICE])
    assert [json.loads(line)["id"] for line in log.path.read_text().splitlines()] == ["id-1"] * 3
    (tmp_path / "file").touch()
    with pytest.raises(Retry, match="cannot be written"):
        LogFile(path=tmp_path / "file" / "alerts.log").send([NOTICE])


GOOD = {
    "TAPE_ALERT_WEBHOOK": "https://alerts.example/in/path-token",
    "TAPE_ALERT_WEBHOOK_SECRET": SECRET,
    "TAPE_ALERT_EMAIL": "a@x.example, b@x.example",
    "TAPE_SMTP_URL": "smtps://ops%40x.example@mail.example",
    "TAPE_SMTP_PASSWORD": PASSWORD,
}


def test_the_environment_names_sinks_and_none_of_them_shows_a_secret(tmp_path: Path) -> None:
    found = sinks_in(GOOD)
    assert [*found.usable] == ["TAPE_ALERT_WEBHOOK", "TAPE_ALERT_EMAIL"] and not found.refused
    mail_ = found.usable["TAPE_ALERT_EMAIL"]
    assert isinstance(mail_, Mail) and mail_.to == ("a@x.example", "b@x.example")
    assert mail_.server == Server("smtps", "mail.example", 465, "ops@x.example")
    for secret in (SECRET, PASSWORD, "path-token"):
        assert secret not in repr(found)
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    rest = {name: text for name, text in GOOD.items() if name != "TAPE_ALERT_WEBHOOK_SECRET"}
    made = sinks_in({**rest, "TAPE_ALERT_WEBHOOK_SECRET_FILE": str(path)}).usable["TAPE_ALERT_WEBHOOK"]
    assert isinstance(made, Webhook) and made.secret.read() == SECRET
    assert sinks_in({}) == ({}, {})


@pytest.mark.parametrize(
    "changes, sink, words",
    [
        ({"TAPE_ALERT_WEBHOOK": "alerts.example/path-token"}, "TAPE_ALERT_WEBHOOK", "is not a web address"),
        ({"TAPE_ALERT_WEBHOOK": "ftp://alerts.example"}, "TAPE_ALERT_WEBHOOK", "is not a web address"),
        ({"TAPE_ALERT_WEBHOOK": "https://h:99999/path-token"}, "TAPE_ALERT_WEBHOOK", "not a web address"),
        ({"TAPE_ALERT_WEBHOOK": "https://h/a b"}, "TAPE_ALERT_WEBHOOK", "is not a web address"),
        ({"TAPE_ALERT_WEBHOOK": f"https://u:{SECRET}@h/x"}, "TAPE_ALERT_WEBHOOK", "holds a login"),
        ({"TAPE_ALERT_WEBHOOK_SECRET_FILE": "gone"}, "TAPE_ALERT_WEBHOOK", "are both set"),
        ({"TAPE_SMTP_URL": ""}, "TAPE_ALERT_EMAIL", "TAPE_ALERT_EMAIL is set without TAPE_SMTP_URL"),
        ({"TAPE_SMTP_URL": "mail.example:25"}, "TAPE_ALERT_EMAIL", "is not the address of a mail server"),
        ({"TAPE_SMTP_URL": f"smtp://u:{SECRET}@h"}, "TAPE_ALERT_EMAIL", "holds a password"),
        ({"TAPE_SMTP_URL": "smtp://h"}, "TAPE_ALERT_EMAIL", "a password for the mail server is set, and no"),
        ({"TAPE_ALERT_EMAIL": "nobody"}, "TAPE_ALERT_EMAIL", "what is no e-mail address"),
        ({"TAPE_ALERT_EMAIL": "a@x\nBcc: b@x"}, "TAPE_ALERT_EMAIL", "what is no e-mail address"),
        ({"TAPE_ALERT_EMAIL": " , "}, "TAPE_ALERT_EMAIL", "names nobody"),
        ({"TAPE_ALERT_SENDER": "me"}, "TAPE_ALERT_EMAIL", "TAPE_ALERT_SENDER has what is no"),
    ],
)
def test_a_wrong_setting_refuses_its_sink_in_words_and_leaves_the_other(
    changes: dict[str, str], sink: str, words: str
) -> None:
    found = sinks_in({**GOOD, **changes})
    assert [*found.refused] == [sink] and len(found.usable) == 1
    said = str(found.refused[sink])
    assert words in said and found.refused[sink].remedy
    for secret in (SECRET, PASSWORD, "path-token"):
        assert secret not in said


@pytest.mark.parametrize("text", ["59", "-1", "1h", "1e3", "99999999999"])
def test_a_wrong_time_of_repeats_is_refused(text: str) -> None:
    with pytest.raises(Fatal, match="TAPE_ALERT_REPEAT_S is not a time"):
        repeat_us({"TAPE_ALERT_REPEAT_S": text})


def test_the_time_of_repeats_is_an_hour_unless_it_is_said() -> None:
    assert [repeat_us({"TAPE_ALERT_REPEAT_S": text}) for text in ("", "60", "0")] == [
        3_600_000_000, 60_000_000, 0,
    ]  # fmt: skip


def test_nothing_is_logged_by_a_sink(hooks: Hooks, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    webhook(hooks.url).send([NOTICE])
    assert "path-token" not in caplog.text and SECRET not in caplog.text
