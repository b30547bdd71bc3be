"""A schema registry, for sites that run one: subjects are registered there and its ids go on the wire.

Speaks the REST interface that Confluent's registry defined (``POST /subjects/{topic}-value/versions``).
Nothing here runs unless SCHEMA_REGISTRY_URL is set.
"""

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from tapedeck.connectors.secrets import secret_of
from tapedeck.connectors.tls import Files, handshake_in_words, probe, speaks_tls, tls_error_in
from tapedeck.schemas.codec import use_ids
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.schemas.ids import REGISTRY_VARIABLE, IdMap, versions
from tapedeck.topics.catalogue import CATALOGUE, Layout

USER_INFO = "SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO"
USERNAME = "SCHEMA_REGISTRY_USERNAME"
PASSWORD = "SCHEMA_REGISTRY_PASSWORD"
TOKEN = "SCHEMA_REGISTRY_BEARER_AUTH_TOKEN"
AUTHORITY = "SCHEMA_REGISTRY_SSL_CA_LOCATION"
CERTIFICATE = "SCHEMA_REGISTRY_SSL_CERTIFICATE_LOCATION"
KEY = "SCHEMA_REGISTRY_SSL_KEY_LOCATION"

_LOGIN_REMEDY = f"set {USERNAME} and {PASSWORD}_FILE, {USER_INFO}_FILE or {TOKEN}_FILE"
_TIMEOUT_S = 10.0
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_SERVER_ERROR = 500
_NO_LOGIN, _FORBIDDEN = 401, 403
_REDIRECTS = range(300, 400)
_NO_SUCH_PATH = (404, 405)
_PORTS = {"http": 80, "https": 443}
_FILES = (AUTHORITY, CERTIFICATE, KEY)
_NO_FILES = Files()


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A registry's address and how to log in. ``url`` has no login; ``repr`` shows no secret."""

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    files: Files = _NO_FILES

    @classmethod
    def described(cls, environment: Mapping[str, str]) -> "Registry | None":
        """The registry in SCHEMA_REGISTRY_URL and related variables; None if it is not set.

        Secret files are read now. Raises Fatal, naming the variable and no secret, for what cannot be.
        """
        given = environment.get(REGISTRY_VARIABLE, "").strip()
        if not given:
            return None
        url, user, password = _split(given)
        logins = {REGISTRY_VARIABLE: (user, password)} if user or password else {}
        if info := secret_of(USER_INFO, environment).read():
            logins[USER_INFO] = _pair(info)
        name, known = environment.get(USERNAME, ""), secret_of(PASSWORD, environment).read()
        if bool(name) != bool(known):
            raise Fatal(
                f"only one of {USERNAME} and {PASSWORD} is set",
                remedy=f"set both ({PASSWORD}_FILE names a file)",
            )
        if name:
            logins[USERNAME] = (name, known)
        if token := secret_of(TOKEN, environment).read():
            logins[TOKEN] = ("", "")
        if len(logins) > 1:
            raise Fatal("the registry's login is set twice", value=" and ".join(logins), remedy="unset one")
        user, password = next(iter(logins.values()), ("", ""))
        files = Files(*(environment.get(each, "") for each in _FILES))
        if any(files[:3]) and urlsplit(url).scheme == "http":
            raise Fatal(
                "certificates are named for the registry, but its address is one without TLS",
                value=url,
                remedy=f"write https:// in {REGISTRY_VARIABLE}, or unset them",
            )
        files.check(_FILES)
        return cls(url=url, user=user, password=password, token=token, files=files)

    @property
    def login(self) -> AuthBase | None:
        """Signs a request; None without a login."""
        if self.token:
            return _Signed(_bearer(self.token))
        if self.user or self.password:
            return HTTPBasicAuth(self.user.encode(), self.password.encode())
        # Otherwise requests would look for a login in ~/.netrc, which was not asked for.
        return _Signed(_unsigned)

    @property
    def who(self) -> str:
        """Who logs in, in words."""
        if self.token:
            return "the bearer token"
        return f"the user {self.user!r}" if self.user or self.password else "nobody"

    @property
    def host_and_port(self) -> tuple[str, int]:
        where = urlsplit(self.url)
        return where.hostname or "", where.port or _PORTS[where.scheme]

    def is_plain_at_tls(self) -> bool:
        """Whether the address has no TLS and the server speaks TLS there."""
        return self.url.startswith("http:") and speaks_tls(*self.host_and_port)


def use_registry(registry: Registry, prefix: str) -> None:
    """Register every schema at ``registry`` and stamp and read its ids in this process from now on.

    Raises Retry or Fatal as ``register`` does.
    """
    use_ids(register(registry, Layout(prefix)))


def register(registry: Registry, layout: Layout) -> IdMap:
    """Register every logged version of every topic's schema, oldest first; returns the registry's ids.

    Registering an existing schema returns its id again, so every process may do it. Raises Retry if the
    registry does not answer. Raises Fatal if it refuses this client or a schema, gives one schema two ids, or
    has a certificate that cannot be trusted.
    """
    to_wire: dict[str, int] = {}
    to_log: dict[int, int] = {}
    with requests.Session() as session:
        for topic in CATALOGUE:
            if topic.schema is None:
                continue
            subject = f"{layout.wire_name(topic.name)}-value"
            for log_id, document in versions(topic.schema):
                wire_id = _id_of(_post(session, registry, subject, document), registry, subject)
                if to_log.setdefault(wire_id, log_id) != log_id:
                    what = f"the registry gave id {wire_id} to two schemas"
                    raise Fatal(what, value=subject, remedy="check that it does not normalise schemas")
                to_wire[topic.schema] = wire_id
    return IdMap(to_wire, to_log)


def _post(
    session: requests.Session, registry: Registry, subject: str, document: dict[str, Any]
) -> requests.Response:
    files = registry.files
    try:
        return session.post(
            f"{registry.url}/subjects/{subject}/versions",
            data=json.dumps({"schemaType": "AVRO", "schema": json.dumps(document)}),
            headers={"Content-Type": _CONTENT_TYPE},
            timeout=_TIMEOUT_S,
            auth=registry.login,
            # Set per request: REQUESTS_CA_BUNDLE would override the session's own value.
            verify=files.authority or True,
            cert=((files.certificate, files.key) if files.key else files.certificate) or None,
            # A redirected POST would become a GET, perhaps without its login.
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise _unanswered(registry, error) from error


def _unanswered(registry: Registry, error: requests.RequestException) -> Fatal | Retry:
    tls = tls_error_in(error)
    if registry.url.startswith("https:") and (tls is None or isinstance(tls, ssl.SSLEOFError)):
        tls = probe(*registry.host_and_port, registry.files) or tls
    if tls is not None:
        words = handshake_in_words(tls, f"the schema registry at {registry.url}", AUTHORITY)
        remedy = words.remedy
        if "client certificate" in words.what:
            remedy = f"name one in {CERTIFICATE} and {KEY}"
        elif "does not use TLS" in words.what:
            remedy = f"write http:// in {REGISTRY_VARIABLE}, or name its TLS port"
        return Fatal(words.what, value=registry.url, remedy=remedy)
    if registry.is_plain_at_tls():
        return _plain(registry)
    remedy = f"check {REGISTRY_VARIABLE} and that the registry runs"
    return Retry(f"the schema registry did not answer: {error}", value=registry.url, remedy=remedy)


def _plain(registry: Registry) -> Fatal:
    what = f"the schema registry at {registry.url} uses TLS"
    return Fatal(what, remedy=f"write https:// in {REGISTRY_VARIABLE}")


def _id_of(answer: requests.Response, registry: Registry, subject: str) -> int:
    said = f"{answer.status_code} {answer.text[:200]}"
    if answer.status_code >= _SERVER_ERROR:
        raise Retry("the schema registry failed", value=said, remedy="see its log")
    if answer.status_code == _NO_LOGIN:
        if registry.who == "nobody":
            raise Fatal("the schema registry requires a login", value=said, remedy=_LOGIN_REMEDY)
        what = f"the schema registry refused the login of {registry.who}"
        raise Fatal(what, value=said, remedy="check its secret, or that it is still valid")
    if answer.status_code == _FORBIDDEN:
        what = f"the schema registry does not let {registry.who} register the schema of {subject}"
        raise Fatal(what, value=said, remedy="grant it the right to read and to write this subject")
    if answer.status_code in _REDIRECTS or answer.status_code in _NO_SUCH_PATH:
        raise Fatal(
            f"there is no schema registry API at {registry.url}",
            value=f"{answer.status_code} {answer.headers.get('Location', '')}".strip(),
            remedy=f"write the registry's own address in {REGISTRY_VARIABLE}, its path included",
        )
    if not answer.ok and registry.is_plain_at_tls():
        raise _plain(registry)
    try:
        wire_id = answer.json()["id"]
    except (ValueError, KeyError, TypeError):
        wire_id = None
    if not answer.ok or not isinstance(wire_id, int):
        raise Fatal(
            f"the schema registry refused the schema of {subject}",
            value=said,
            remedy="set the subject's compatibility mode to that of `python -m tapedeck.schemas.compat`",
        )
    return wire_id


class _Signed(AuthBase):
    def __init__(self, sign: Callable[[requests.PreparedRequest], None]) -> None:
        self._sign = sign

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        self._sign(request)
        return request


def _bearer(token: str) -> Callable[[requests.PreparedRequest], None]:
    def sign(request: requests.PreparedRequest) -> None:
        request.headers["Authorization"] = f"Bearer {token}"

    return sign


def _unsigned(request: requests.PreparedRequest) -> None:
    """Leave the request as it is."""


def _split(given: str) -> tuple[str, str, str]:
    """Address, user and password in SCHEMA_REGISTRY_URL. Raises Fatal, without showing the password."""
    try:
        parts = urlsplit(given)
        fits = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0 and "," not in given
    except ValueError:
        fits = False
    if not fits:
        raise Fatal(
            f"{REGISTRY_VARIABLE} is not the address of one registry",
            value=_shown(given),
            remedy="write it as https://HOST:PORT, with special characters of a password percent-encoded",
        )
    address = parts.netloc.rpartition("@")[2]
    url = urlunsplit((parts.scheme, address, parts.path.rstrip("/"), "", ""))
    return url, unquote(parts.username or ""), unquote(parts.password or "")


def _shown(given: str) -> str:
    """``given`` without anything that may be a login."""
    scheme, slashes, rest = given.partition("://") if "://" in given else ("", "", given)
    return f"{scheme}{slashes}{'***@' if '@' in rest else ''}{rest.rpartition('@')[2]}"


def _pair(info: str) -> tuple[str, str]:
    user, colon, password = info.partition(":")
    if not (user and colon):
        raise Fatal(f"{USER_INFO} is not a user and a password", remedy="write it as USER:PASSWORD")
    return user, password
