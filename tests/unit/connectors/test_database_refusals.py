"""What libpq says of a refused connection, and what is said of it here."""

import pytest

from tapedeck.connectors.postgres.refusals import refusal

AT = 'connection failed: connection to server at "10.0.0.7", port 5432 failed: '
WHO = 'host "10.0.0.9", user "tape", database "audit"'
SAID = {
    'FATAL:  password authentication failed for user "tape"': "refused the password of the user 'tape'",
    "fe_sendauth: no password supplied": "DATABASE_PASSWORD_FILE",
    'FATAL:  database "audit" does not exist': "no database 'audit'",
    'FATAL:  role "tape" does not exist': "no user 'tape'",
    f"FATAL:  no pg_hba.conf entry for {WHO}, no encryption": "without TLS",
    f"FATAL:  no pg_hba.conf entry for {WHO}, SSL encryption":
        "does not let the user 'tape' connect to 'audit' from 10.0.0.9",
    f"FATAL:  pg_hba.conf rejects connection for {WHO}, SSL encryption":
        "does not let the user 'tape' connect to 'audit' from 10.0.0.9",
    "FATAL:  connection requires a valid client certificate": "asks for a client certificate",
    'FATAL:  certificate authentication failed for user "tape"': "asks for a client certificate",
    "SSL error: tlsv1 alert certificate expired": "does not trust this client's certificate",
    "received invalid response to SSL negotiation: H": "not Postgres",
    'root certificate file "/ca" does not exist\nEither': 'file "/ca" does not exist',
    'weak sslmode "prefer" may not be used with sslrootcert=system': "weak sslmode",
}  # fmt: skip
PASSING = (
    "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
    "FATAL:  the database system is starting up",
    "FATAL:  sorry, too many clients already",
    "server closed the connection unexpectedly",
)


@pytest.mark.parametrize("said", SAID)
def test_a_refusal_that_lasts_is_told_in_words_with_a_remedy(said):
    words = refusal(Exception(AT + said), {"host": "10.0.0.7"})
    assert words is not None and SAID[said] in f"{words.what}; {words.remedy}"
    assert "connection to server at" not in words.what and words.remedy


@pytest.mark.parametrize("said", PASSING)
def test_what_passes_by_itself_is_no_refusal(said):
    assert refusal(Exception(AT + said), {"host": "10.0.0.7"}) is None


def test_one_of_several_hosts_that_refuses_may_not_be_asked_next_time():
    assert refusal(Exception(AT + next(iter(SAID))), {"host": "a,b"}) is None
