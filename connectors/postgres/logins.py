"""Makes the login of the pipeline's processes, so that no person has to run SQL."""

from psycopg import sql

from tapedeck.connectors.postgres.connection import SINK_ROLE, open_database
from tapedeck.schemas.errors import Fatal


def grant_login(url: str, name: str, password: str) -> bool:
    """Create the login ``name``, a member of the sink's role, or change its password; returns if it is new.

    ``url``: the owner of the tables, who may create roles. Raises Fatal for the owner's own name, and as
    ``open_database`` does.
    """
    with open_database(url) as connection:
        if name == connection.info.user:
            raise Fatal(
                "the login of the processes is the owner of the tables, whose rights they should not have",
                value=name,
                remedy="name another login",
            )
        found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
        words = "ALTER ROLE {} LOGIN PASSWORD {}" if found else "CREATE ROLE {} LOGIN PASSWORD {}"
        connection.execute(sql.SQL(words).format(sql.Identifier(name), sql.Literal(password)))
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(SINK_ROLE), sql.Identifier(name)))
    return not found
