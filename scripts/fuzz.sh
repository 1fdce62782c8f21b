#!/usr/bin/env bash
# Runs every fuzz target of fuzz/ for $FUZZ_SECONDS (60) each, or those named; installs cargo-fuzz when it is not there.
#
#   FUZZ_SECONDS=10 scripts/fuzz.sh row_decode
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/cache.sh
. "$here/cache.sh"
"$here/require.sh" rust cc cxx

version=0.13.2
seconds="${FUZZ_SECONDS:-60}"

install_cargo_fuzz() {
    echo "installing cargo-fuzz $version (once, about a minute)" >&2
    quietly cargo install cargo-fuzz --version "$version" --locked --root "$1"
}

folder="$(cache_folder "cargo-fuzz-$version")"
ensure_built "$folder" install_cargo_fuzz
export PATH="$folder/bin:$PATH"
# Instrumented builds of everything have a folder of their own; with that they never disturb the ordinary ones. The
# flags that instrument are unstable, which the variable allows to a stable compiler.
export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR="${FUZZ_TARGET_DIR:-$(cache_folder fuzz-target)}"

cd "$here/.."
if [ "$#" -eq 0 ]; then
    # shellcheck disable=SC2046
    set -- $(cargo fuzz list)
fi
for target in "$@"; do
    echo "fuzz: $target for $seconds s"
    cargo fuzz run --sanitizer none "$target" -- "-max_total_time=$seconds" -print_final_stats=0 -verbosity=0
done
