#!/bin/bash
# Makes the data folder of the variables POSTGRES_* if there is none, and starts the server as postgres.
set -eu
if [ "$(id -u)" = 0 ]; then
  if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); fi
  export POSTGRES_PASSWORD
  install -d -o postgres -g postgres -m 0700 "$(dirname "$PGDATA")" "$PGDATA"
  chown postgres:postgres /var/lib/postgresql
  exec setpriv --reuid=999 --regid=999 --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  user=${POSTGRES_USER:-postgres}
  : "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE}"
  # shellcheck disable=SC2086
  initdb --pgdata "$PGDATA" --username "$user" --pwfile <(printf '%s\n' "$POSTGRES_PASSWORD") \
    ${POSTGRES_INITDB_ARGS:-}
  printf '\nhost all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
  pg_ctl --pgdata "$PGDATA" --wait --options "-c listen_addresses='' -p 5432 -k /var/run/postgresql" start
  name=${POSTGRES_DB:-$user}
  if [ "$name" != postgres ]; then
    createdb --host /var/run/postgresql --username "$user" --maintenance-db postgres "$name"
  fi
  pg_ctl --pgdata "$PGDATA" --wait --mode fast stop
  printf '\nPostgreSQL init process complete; ready for start up.\n\n'
fi
unset POSTGRES_PASSWORD
exec postgres -D "$PGDATA" -c 'listen_addresses=*' -k /var/run/postgresql
