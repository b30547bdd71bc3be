#!/bin/sh
# Makes the secret files that docker-compose.yml names and that are not there yet. Live keys are not made up.
set -eu
cd "$(dirname "$0")/.."
umask 077
mkdir -p deploy/secrets
for name in $(sed -n 's|^ *file: \./deploy/secrets/||p' docker-compose.yml); do
  file=deploy/secrets/$name
  case $name in apca_* | reddit_client_*) continue ;; esac
  [ -s "$file" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "$file"
done
# The containers read them as the user who owns them, who is not root.
if [ "$(id -u)" = 0 ]; then
  chown 10001 deploy/secrets deploy/secrets/*
elif [ ! -e .env ]; then
  echo "TAPE_UID=$(id -u)" > .env
fi
