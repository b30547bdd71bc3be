#!/bin/sh
# Starts a Docker engine without installing one: start.sh FOLDER. Needs root, debootstrap and Debian's mirror once.
#
# Debian's packages of Docker, buildx and compose, of trixie, are unpacked into FOLDER/engine (about 700 MB) and run
# there, in mounts of their own that end with the engine. On the machine it leaves only the bridge docker0, which
# stop.sh removes, and firewall rules of Docker's own chains. Containers may mount what is in the repository. Then:
#   export DOCKER_HOST=unix://FOLDER/docker.sock DOCKER_CONFIG=FOLDER/config
# and the command docker, if the machine has none, is FOLDER/engine/usr/bin/docker.
set -eu
folder=$(mkdir -p "$1" && cd "$1" && pwd)
root=$folder/engine
if [ ! -e "$root/.whole" ]; then
  # The name of the engine's package, which is a registry's too, in two parts.
  debootstrap --variant=minbase \
    --include=ca-certificates,docker'.'io,docker-cli,docker-buildx,docker-compose,iptables trixie "$root" \
    ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}
  touch "$root/.whole"
fi
cp /etc/resolv.conf "$root/etc/resolv.conf"
mkdir -p "$folder/data" "$root$folder"
# Paths that containers mount must be the same inside.
repository=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$root$repository"
export root folder repository
unshare --mount --propagation private sh -c '
  # A new root, not a chroot: what is executed in a container later would see the machine from a chroot.
  mount --bind "$root" "$root"
  mount --rbind /proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/run"
  mount --bind "$repository" "$root$repository"
  mount --bind "$folder" "$root$folder"
  cd "$root"
  pivot_root . mnt
  cd /
  umount -l /mnt
  exec env PATH=/usr/sbin:/usr/bin:/sbin:/bin dockerd --data-root "$folder/data" \
    --exec-root "$folder/exec" -H "unix://$folder/docker.sock" -p "$folder/docker.pid"
' > "$folder/docker.log" 2>&1 &
for _ in $(seq 60); do
  if curl --silent --fail --unix-socket "$folder/docker.sock" http://docker/_ping > /dev/null 2>&1; then
    # All containers together would have the share of one process.
    for weight in /sys/fs/cgroup/cpu/docker/cpu.shares; do
      mkdir -p "${weight%/*}" 2> /dev/null && echo 10240 > "$weight" || true
    done
    mkdir -p "$folder/config/cli-plugins"
    cp "$root"/usr/libexec/docker/cli-plugins/* "$folder/config/cli-plugins/"
    echo "the engine answers: export DOCKER_HOST=unix://$folder/docker.sock DOCKER_CONFIG=$folder/config"
    exit 0
  fi
  sleep 1
done
tail -n 5 "$folder/docker.log" >&2
exit 1
