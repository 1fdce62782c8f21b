#!/usr/bin/env bash
# Prints a folder with the programs of a real server that tests run against; installs them when they are not there yet.
#
#   scripts/servers.sh redis            redis-server and redis-cli
#   scripts/servers.sh postgres         postgres, initdb and psql, 15 or newer
#   scripts/servers.sh minio            minio, built by Go (once, about three minutes)
#   scripts/servers.sh versitygw        versitygw, built by Go (once, about a minute)
#
# Nothing but the path goes to standard output. What the system has is used; what it lacks is installed from Debian's
# packages, which needs root or a sudo that does not ask. Nothing is started.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/cache.sh
. "$here/cache.sh"

minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
versitygw_version=v1.8.0

# The folder of program $1, if the system has it.
folder_of() {
    local program
    program="$(command -v "$1")" && dirname "$(readlink -f "$program")"
}

# Debian keeps PostgreSQL's programs off the PATH.
postgres_folder() {
    local newest
    newest="$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)"
    if [ -x "$newest" ]; then
        dirname "$newest"
    else
        folder_of initdb
    fi
}

redis_folder() {
    local program
    program="$(command -v redis-server)" && dirname "$program"
}

# Debian starts what it installs unless it is told that the machine is being set up.
install_packages() {
    local as_root=()
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "$* must be there for the tests: install it with your system's packages" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo -n)
    fi
    echo "installing $* (once)" >&2
    quietly "${as_root[@]}" env RUNLEVEL=1 apt-get update -q || return
    quietly "${as_root[@]}" env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "$@"
}

# Those who come at the same time must not install at the same time.
with_packages() { # how to find the folder, packages
    local find="$1" lock
    shift
    "$find" && return
    lock="$(cache_folder packages)"
    mkdir -p "$lock"
    (
        exec 9>"$lock/lock"
        "$(find_python)" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' || exit
        "$find" >/dev/null || install_packages "$@" 9>&-
    ) || return
    "$find"
}

build_go_program() { # module and version, folder
    "$here/require.sh" go || return
    echo "building ${1%%@*} (once, a few minutes)" >&2
    GOBIN="$2" GOFLAGS=-buildvcs=false quietly go install "$1"
}

go_program() { # name, version, package
    local folder
    folder="$(cache_folder "$1-$2-$(uname -s)-$(uname -m)")"
    ensure_built "$folder" build_go_program "$3@$2"
    echo "$folder"
}

case "${1:-}" in
redis) with_packages redis_folder redis-server ;;
postgres) with_packages postgres_folder postgresql ;;
minio) go_program minio "$minio_version" github.com/minio/minio ;;
versitygw) go_program versitygw "$versitygw_version" github.com/versity/versitygw/cmd/versitygw ;;
*)
    echo "usage: scripts/servers.sh redis | postgres | minio | versitygw" >&2
    exit 2
    ;;
esac
