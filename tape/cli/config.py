"""``tape config``: the default document, and the check of one."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tapedeck.connectors.config_file import load, topology_of
from tapedeck.connectors.secrets import HIDDEN, without_secrets
from tapedeck.streams.config.deployment import Deployment
from tapedeck.streams.config.described import commented, parameters
from tapedeck.streams.config.difference import MISSING, differences
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.config.news import Feed, News
from tapedeck.streams.identity import RULES_VERSION
from tapedeck.streams.named import TOPOLOGY_VARIABLE
from tapedeck.tape.local.where import look

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Show the default configuration document, check or compare documents, or show where commands look.",
)

WHERE = (
    "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_CLUSTER_ID", "KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM",
    "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD", "KAFKA_SASL_PASSWORD_FILE", "KAFKA_SSL_CA_LOCATION",
    "KAFKA_SSL_CERTIFICATE_LOCATION", "KAFKA_SSL_KEY_LOCATION", "KAFKA_CLIENT_CONFIG", "SCHEMA_REGISTRY_URL",
    "TAPE_PREFIX", "TAPE_SYMBOL_PARTITIONS", "TAPE_ACCOUNT_PARTITIONS", "TAPE_KEEP", "TAPE_REPLICATION",
    "TAPE_CONFIG", "TAPE_TOPOLOGY", "DATABASE_URL", "TAPE_EXCHANGE_URL",
    "TAPE_SENTIMENT_MODEL", "TAPE_HOME", "TAPE_CACHE",
)  # fmt: skip
"""The documented variables, in the order in which they are looked up."""
_PRIVATE = ("broker_account_id",)
"""Parameters whose whole value is hidden."""
_HEADER = "# tapedeck.config: every key with its default. An unknown key is refused.\n"
_DEPLOYMENT = """
# Where it runs. Not part of the digest; the matching environment variable has precedence.
# [deployment]
"""
_NEWS = """
# Which feeds are read. No part of the digest.
# [news]
"""
_MUST = '"..."'
_FEED = "# [[news.feeds]]\n"


@app.command()
def show(
    *,
    redacted: Annotated[
        bool,
        typer.Option("--redacted", help="The document in use, whole, without passwords and account numbers."),
    ] = False,
) -> None:
    """Print the whole default document as TOML, with the example accounts `large` and `tiny`.

    Where a topology is named, the parameters that its package declares are in it.
    """
    if redacted:
        print(_redacted(look().document()), end="")
        return
    where = look(is_document_needed=False)
    where.topology()
    document = Config(topology=where.get(TOPOLOGY_VARIABLE), accounts=EXAMPLE_ACCOUNTS)
    print(_HEADER + commented(document.to_toml()), end="")
    for heading, group in ((_NEWS, News), (_FEED, Feed), (_DEPLOYMENT, Deployment)):
        print(heading, end="")
        for each in parameters(group):
            if each.kind != "list of value":  # the tables that follow
                print(f"# {each.name} = {each.default or _MUST}  # {each.as_comment()}")


@app.command()
def check(file: Annotated[Path, typer.Argument(help="The document, as TOML.")]) -> None:
    """Validate a document and print its digest; exit code 2 with the key path if it is invalid."""
    config = load(file)
    names = ", ".join(account.account_id for account in config.accounts) or "none"
    print(f"{file}: valid, digest {config.digest}, accounts: {names}")


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="A document, as TOML.")],
    new: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """Print the parameters in which two documents differ, and what that reaches; exit code 1 if any do."""
    before, after = load(old), load(new)
    found = differences(before, after, topology_of(new))
    table = Table("parameter", "old", "new", "digest", "read by stages", box=None, pad_edge=False)
    for each in found:
        values = (_safe(each.path, text) for text in (each.old, each.new))
        table.add_row(each.path, *values, "yes" if each.is_rule else "no", ", ".join(each.stages) or "-")
    if found:
        Console(width=None if sys.stdout.isatty() else 300).print(table, highlight=False, markup=False)
    print(f"digest {before.digest} -> {after.digest}, {len(found)} parameters differ; rules {RULES_VERSION}")
    if before.digest != after.digest:
        print("decisions get other event_ids: a replay under the new document is compared by `tape whatif`")
    if found:
        raise typer.Exit(1)


def _redacted(config: Config) -> str:
    """The document as TOML, fit to be shown to others."""
    lines = config.to_toml().splitlines()
    shown = []
    for line in lines:
        name, is_set, value = line.partition(" = ")
        shown.append(
            f'{name} = "{_safe(name, value)}"' if is_set and name in _PRIVATE else without_secrets(line)
        )
    return "".join(f"{line}\n" for line in shown)


def _safe(path: str, text: str) -> str:
    return HIDDEN if path.rpartition(".")[2] in _PRIVATE and text != MISSING else without_secrets(text)


@app.command()
def where() -> None:
    """Print where commands look from here: each value, and where it comes from."""
    found = look(is_document_needed=False)
    table = Table("value", "is", "said by", box=None, pad_edge=False)
    for name in WHERE:
        value = found.values.get(name)
        shown = _shown(name, value.text) if value else "-"
        table.add_row(name, shown, value.source if value else "nobody")
    state = (
        f"running, its broker is at {found.stack.bootstrap}" if found.stack else "not running, or not used"
    )
    table.add_row("the local stack's folder", str(found.folder), state)
    console = Console() if sys.stdout.isatty() else Console(width=300)
    console.print(table, highlight=False, markup=False)
    for note in found.notes():
        print(note)


def _shown(name: str, text: str) -> str:
    """A value made safe to show: passwords are hidden."""
    if name == "DATABASE_URL":
        from tapedeck.connectors.postgres.connection import without_password  # noqa: PLC0415 - it loads for long

        return without_password(text)
    return "***" if "PASSWORD" in name and not name.endswith("_FILE") else text
