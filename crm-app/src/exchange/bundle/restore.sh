# Makes the roles and the database, and restores what is in crm.dump. In a subshell: the image postgres reads this file into a
# shell of its own.
#
#   SECRETS  the folder with the passwords `owner` and `app`
#   DUMP     the dump
(
  set -eu
  secrets=${SECRETS:-/run/secrets}
  dump=${DUMP:-/docker-entrypoint-initdb.d/crm.dump}
  superuser=${POSTGRES_USER:-postgres}
  psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$superuser" --dbname=postgres \
    --set=owner="$(cat "$secrets/owner")" --set=app="$(cat "$secrets/app")" <<'SQL'
create role crm_owner login createdb password :'owner';
create role crm_app login password :'app';
create role crm_backup;
create database crm owner crm_owner template template0;
SQL
  pg_restore --exit-on-error --username="$superuser" --dbname=crm "$dump"
)
