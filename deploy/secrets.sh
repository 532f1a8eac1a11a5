#!/bin/sh
# Creates the passwords that docker-compose.yml reads, as files, and names their folder in .env. Existing files stay.
#
#     sh deploy/secrets.sh [FOLDER]        default: ./secrets
set -eu
cd "$(dirname "$0")/.."
folder=${1:-./secrets}
umask 077
mkdir -p "$folder"
# Other users cannot enter the folder. So the files may be readable, as the containers' users differ from yours.
chmod 700 "$folder"
for name in database_admin_password database_owner_password database_app_password grafana_password ray_token; do
  [ -s "$folder/$name" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "$folder/$name"
  chmod 444 "$folder/$name"
done
if ! grep -q '^COSTCURVE_SECRETS=' .env 2> /dev/null; then
  echo "COSTCURVE_SECRETS=$folder" >> .env
fi
