# An empty PostgreSQL for one drill. Whoever reaches its socket is in this pod; nobody else can.
set -eu
umask 077
data=/var/lib/postgresql/drill
# This container was started again: what is there may be half.
rm -rf "$data"
initdb --pgdata="$data" --username=postgres --encoding=UTF8 --locale-provider=builtin --builtin-locale=C.UTF-8 \
  --locale=C.UTF-8 --auth-local=trust --auth-host=reject --no-sync --no-instructions >/tmp/initdb.log 2>&1 || {
  cat /tmp/initdb.log >&2
  exit 1
}
exec postgres -D "$data" -c listen_addresses= -c unix_socket_directories=/run/postgresql \
  -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c wal_level=minimal -c max_wal_senders=0 \
  -c autovacuum=off -c jit=off -c log_error_verbosity=terse -c log_min_error_statement=panic
