#!/bin/sh
# Creates CostCurve's two roles in PostgreSQL and sets their passwords: roles.sql says what each may do.
#
#     OWNER_PASSWORD_FILE=… APP_PASSWORD_FILE=… roles.sh [DATABASE_URL]
#
# Without a URL, psql's own variables say where the database is. ADMIN_PASSWORD_FILE may name a file with the password.
set -eu
for name in OWNER_PASSWORD_FILE APP_PASSWORD_FILE; do
  eval "file=\${$name:?must name a file with the password of the role}"
  [ -s "$file" ] || { echo "$name: $file is missing or empty" >&2; exit 1; }
done
if [ -n "${ADMIN_PASSWORD_FILE:-}" ]; then
  PGPASSWORD=$(cat "$ADMIN_PASSWORD_FILE")
  export PGPASSWORD
fi
exec psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --file="$(dirname "$0")/roles.sql" "$@"
