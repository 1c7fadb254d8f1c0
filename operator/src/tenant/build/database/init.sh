#!/bin/sh
# Prepares the data directory before PostgreSQL starts. Runs as an init container at every start.
#
#   init.sh VOLUME SECRETS
#
# VOLUME   mount point of the volume: `pgdata` is the data directory, `initialized` the marker.
# SECRETS  directory with owner-verifier, app-verifier and backup-verifier (SCRAM-SHA-256).
#
# Rules: data is never initialised over; a half-made directory never gets the real name; the superuser has no password
# and only the local socket; passwords never come here, only their verifiers.
set -eu

volume=$1
secrets=$2
data=$volume/pgdata
partial=$volume/pgdata.partial
marker=$volume/initialized
log=/tmp/init.log
report=${TERMINATION_LOG:-/dev/termination-log}
major=17

refuse() {
  printf '%s\n' "$1" >&2
  printf '%s' "$1" >"$report" || true
  exit 1
}

# A verifier goes into SQL text, so nothing but its alphabet may be in it.
verifier() {
  value=$(cat "$secrets/$1-verifier") || refuse "The verifier of crm_$1 is missing in Secret database-credentials."
  case $value in
    *[!A-Za-z0-9+/=:\$-]* | '') refuse "The verifier of crm_$1 in Secret database-credentials is not in SCRAM form." ;;
    'SCRAM-SHA-256$'*) printf '%s' "$value" ;;
    *) refuse "The verifier of crm_$1 in Secret database-credentials is not SCRAM-SHA-256." ;;
  esac
}

# Runs the SQL of standard input, one statement a line, without any server or socket: single_user DIRECTORY [OPTION...]
single_user() {
  directory=$1
  shift
  postgres --single -D "$directory" "$@" -c exit_on_error=on -c log_min_error_statement=panic \
    -c log_error_verbosity=terse -c log_checkpoints=off postgres >/dev/null 2>"$log"
}

owner=$(verifier owner)
app=$(verifier app)
backup=$(verifier backup)

if [ -e "$data/PG_VERSION" ]; then
  found=$(cat "$data/PG_VERSION")
  [ "$found" = "$major" ] || refuse "The volume holds data of PostgreSQL $found, but this image is PostgreSQL $major: nothing was changed."
  rm -rf "$partial"
  single_user "$data" <<SQL || refuse "PostgreSQL could not set the roles' passwords: $(tail -n 3 "$log")"
ALTER ROLE crm_owner WITH LOGIN PASSWORD '$owner'
ALTER ROLE crm_app WITH LOGIN PASSWORD '$app'
ALTER ROLE crm_backup WITH LOGIN PASSWORD '$backup'
SQL
elif [ -e "$marker" ]; then
  refuse "The volume was initialised before, but its data directory is gone: nothing was changed. Restore the volume, or delete the file 'initialized' on it to start with an empty database."
elif [ -e "$data" ]; then
  refuse "The volume holds a data directory without PG_VERSION: nothing was changed. Restore the volume, or empty it to start with an empty database."
else
  rm -rf "$partial"
  initdb --pgdata="$partial" --username=postgres --encoding=UTF8 --locale-provider=builtin --builtin-locale=C.UTF-8 \
    --locale=C.UTF-8 --auth-local=peer --auth-host=scram-sha-256 --data-checksums --no-sync --no-instructions >"$log" 2>&1 ||
    refuse "initdb failed: $(tail -n 3 "$log")"
  # Nothing counts before the rename, so nothing is forced to disk until all is there; and then all at once: file by
  # file takes seconds (kernels since 5.8 report write errors to syncfs as well).
  single_user "$partial" -c fsync=off <<SQL || refuse "PostgreSQL could not make the roles and the database: $(tail -n 3 "$log")"
CREATE ROLE crm_owner LOGIN CREATEDB PASSWORD '$owner'
CREATE ROLE crm_app LOGIN PASSWORD '$app'
CREATE ROLE crm_backup LOGIN PASSWORD '$backup'
CREATE DATABASE crm OWNER crm_owner
REVOKE ALL ON DATABASE crm FROM PUBLIC
REVOKE ALL ON DATABASE postgres FROM PUBLIC
REVOKE ALL ON DATABASE template1 FROM PUBLIC
GRANT CONNECT ON DATABASE crm TO crm_app, crm_backup
SQL
  initdb --sync-only --sync-method=syncfs --pgdata="$partial" >"$log" 2>&1 || refuse "The new data directory could not be written to disk: $(tail -n 3 "$log")"
  mv "$partial" "$data"
  sync "$volume"
fi

# Written after the data is safely in place, so a crash before this line starts over or finds the data.
if [ ! -e "$marker" ]; then
  printf '%s\n' "$major" >"$marker"
  sync "$marker" "$volume"
fi
