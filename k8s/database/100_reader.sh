#!/bin/sh
# Runs once, when the database is made: a role for Grafana that reads and cannot write.
set -eu
psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set=reader="$READER_USER" --set=password="$READER_PASSWORD" <<'SQL'
create role :"reader" login password :'password';
grant pg_read_all_data to :"reader";
alter role :"reader" set statement_timeout = '30s';
SQL
