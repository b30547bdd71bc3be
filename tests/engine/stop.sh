#!/bin/sh
# Stops the engine that start.sh started in FOLDER, and removes its bridge: stop.sh FOLDER.
set -eu
pid=$(cat "$1/docker.pid")
kill "$pid"
while [ -d "/proc/$pid" ]; do sleep 1; done
ip link delete docker0 2> /dev/null || true
