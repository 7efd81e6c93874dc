#!/usr/bin/env bash
# Builds the image and tries it for real: a single node, then the compose file with its leader killed. `make docker-check`.
#
# An engine that runs is used as it is. Else, as root on Debian, one is started for as long as this takes, in a network
# namespace of its own, so that the machine's firewall stays as it was; missing packages are installed.
# The base image is PYTHON_IMAGE (python:3.11-slim). Where no registry gives it, a stand-in is made from this Debian's
# own packages, with wheels from the package index that pip is configured for. Both the engine and what was made in
# it are gone afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON_IMAGE=${PYTHON_IMAGE:-python:3.11-slim}
export CHECK_NAME=chronos-check-$$
export CHECK_IMAGE=$CHECK_NAME:latest
PACKAGES=(docker.io docker-compose iptables iproute2 mmdebstrap python3-venv)
PULL_S=300
ENGINE_S=60

work=$(mktemp -d /var/tmp/chronos-check.XXXXXX)
engine_pid=""
wheels_made=""
near_engine=() # runs a command where published ports are reached

main() {
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  say "engine"
  engine_runs || start_engine
  compose_exists || fail "there is no docker compose; on Debian: apt-get install docker-compose"
  docker version --format '  client {{.Client.Version}}, engine {{.Server.Version}}'
  say "image"
  build
  docker image inspect --format '  {{.Id}}, {{.Size}} bytes, user {{.Config.User}}' "$CHECK_IMAGE"
  say "a single node"
  try node
  say "docker compose up"
  try cluster
  say "all checks hold"
}

say() { echo "== $*"; }

fail() {
  echo "docker-check: $*" >&2
  exit 1
}

# logged SENTENCE COMMAND…: what the command says is shown only if it fails.
logged() {
  local sentence=$1
  shift
  "$@" >"$work/log" 2>&1 && return
  tail -n 40 "$work/log" >&2
  fail "$sentence"
}

engine_runs() { docker version >/dev/null 2>&1; }

compose_exists() { docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; }

# On a machine with systemd, installing may have started an engine already.
start_engine() {
  [ "$(id -u)" = 0 ] || fail "no Docker engine answers; start one, or run this as root on Debian"
  install_packages
  engine_runs && return
  export DOCKER_HOST=unix://$work/docker.sock
  setsid unshare --net sh -c 'ip link set lo up && exec dockerd "$@"' dockerd --data-root "$work/data" \
    --exec-root "$work/exec" --pidfile "$work/dockerd.pid" --host "$DOCKER_HOST" >"$work/dockerd.log" 2>&1 </dev/null &
  engine_pid=$!
  for ((waited = 0; waited < ENGINE_S * 5; waited++)); do
    if engine_runs; then
      near_engine=(nsenter "--net=/proc/$(cat "$work/dockerd.pid")/ns/net")
      echo "  started one, in a network namespace of its own"
      return
    fi
    kill -0 "$engine_pid" 2>/dev/null || break
    sleep 0.2
  done
  tail -n 20 "$work/dockerd.log" >&2
  fail "the engine does not start"
}

install_packages() {
  command -v dockerd ip iptables mmdebstrap docker >/dev/null && compose_exists && return
  command -v apt-get >/dev/null || fail "no Docker engine answers, and this is not Debian: start one"
  echo "  installing ${PACKAGES[*]}"
  export DEBIAN_FRONTEND=noninteractive
  logged "the packages cannot be installed" apt-get -o DPkg::Lock::Timeout=300 update -q
  logged "the packages cannot be installed" \
    apt-get -o DPkg::Lock::Timeout=300 install -qy --no-install-recommends "${PACKAGES[@]}"
}

build() {
  local arguments=()
  if docker image inspect "$PYTHON_IMAGE" >/dev/null 2>&1 || timeout "$PULL_S" docker pull -q "$PYTHON_IMAGE" 2>/dev/null; then
    echo "  base image $PYTHON_IMAGE"
  else
    echo "  no registry gives $PYTHON_IMAGE: making a stand-in and wheels"
    make_base
    make_wheels
    PYTHON_IMAGE=$CHECK_NAME-python
    arguments=(--build-arg "PIP_ARGS=--no-index --find-links=/wheels")
  fi
  logged "the image cannot be built" \
    docker build -f docker/Dockerfile -t "$CHECK_IMAGE" --build-arg "PYTHON_IMAGE=$PYTHON_IMAGE" "${arguments[@]}" .
}

# This machine's Debian release, so that wheels made here fit its Python; python and pip are named as in the official image.
make_base() {
  [ "$(id -u)" = 0 ] || fail "a stand-in is made as root on Debian only; set PYTHON_IMAGE to one the engine can get"
  install_packages
  local suite
  # shellcheck source=/dev/null
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  # shellcheck disable=SC2016 # mmdebstrap's shell expands it
  logged "no base can be made from Debian's packages" mmdebstrap --quiet --variant=minbase --include=python3-venv,ca-certificates,tzdata \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --customize-hook='chroot "$1" python3 -m venv /usr/local' "$suite" "$work/base.tar"
  docker import "$work/base.tar" "$CHECK_NAME-python" >/dev/null
  rm "$work/base.tar"
}

# Wheels that somebody laid ready are taken as they are.
make_wheels() {
  compgen -G 'docker/wheels/*.whl' >/dev/null && return
  wheels_made=yes
  /usr/bin/python3 .ci/make_venv.py "$work/venv"
  "$work/venv/bin/pip" wheel --quiet --wheel-dir docker/wheels -r requirements.lock
}

# One of docker/check/*.py; if it fails, what the containers said is shown.
try() {
  "${near_engine[@]}" python3 "docker/check/$1.py" && return
  for container in $(docker ps -aq --filter "name=$CHECK_NAME"); do
    echo "-- $(docker inspect -f '{{.Name}} {{.State.Status}} {{.State.ExitCode}}' "$container")" >&2
    docker logs --tail 40 "$container" >&2
  done
  fail "docker/check/$1.py found a failure, see above"
}

clean_up() {
  trap - EXIT INT TERM
  set +e
  [ -z "$wheels_made" ] || rm -f docker/wheels/*.whl
  engine_runs && remove_what_was_made >/dev/null 2>&1
  [ -z "$engine_pid" ] || stop_engine
  rm -rf "$work"
}

remove_what_was_made() {
  docker ps -aq --filter "name=$CHECK_NAME" | xargs -r docker rm -f -v
  docker volume ls -q --filter "name=$CHECK_NAME" | xargs -r docker volume rm
  docker network ls -q --filter "name=$CHECK_NAME" | xargs -r docker network rm
  docker image rm "$CHECK_IMAGE"
  docker image rm "$CHECK_NAME-python"
}

stop_engine() {
  kill "$engine_pid" 2>/dev/null
  wait "$engine_pid" 2>/dev/null
  umount "$work/exec/netns/default" 2>/dev/null
  find /sys/fs/cgroup -maxdepth 2 -type d -name docker -exec rmdir {} + 2>/dev/null # those in use stay
}

main
