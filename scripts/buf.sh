#!/usr/bin/env bash
# Runs buf, which lints the contracts and finds breaking changes; installs it from npm when it is not there yet.
#
#   scripts/buf.sh lint proto
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/cache.sh
. "$here/cache.sh"

version=1.75.0

install_buf() {
    local folder="$1"
    "$here/require.sh" node || return
    echo "installing buf $version (once)" >&2
    quietly npm install --prefix "$folder" --no-audit --no-fund --no-save --loglevel=error "@bufbuild/buf@$version"
}

# The package brings a program for one platform, so the folder is named after it.
folder="$(cache_folder "buf-$version-$(uname -s)-$(uname -m)")"
ensure_built "$folder" install_buf
exec "$folder/node_modules/.bin/buf" "$@"
