#!/usr/bin/env bash
# Checks that what the project needs on a machine is there, and says of each thing that is not: what is needed, what
# was found, where to get it.
#
#   scripts/require.sh                          everything that the demo and the tests need
#   scripts/require.sh rust cc                  these
#
# Known: bash git make cc cxx rust rustfmt clippy python node go. Silent and 0 when nothing is missing, 1 otherwise.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/cache.sh
. "$here/cache.sh"

rust_minimum=1.94
bash_minimum=5.0
python_minimum=3.11
node_minimum=18.0
go_minimum=1.21

missing=0

complain() { # what is needed, what was found, where to get it
    if [ "$missing" -eq 0 ]; then
        echo "Larder cannot be built or run here yet:" >&2
    fi
    missing=1
    printf '  %-28s %s\n  %-28s %s\n' "$1" "$2" "" "$3" >&2
}

# The first version number in the words of a command, or nothing.
version_of() {
    { "$@" 2>/dev/null || true; } | grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)*' | head -n 1 || true
}

at_least() { # found, minimum
    local found_major found_minor minimum_major minimum_minor
    IFS=. read -r found_major found_minor _ <<<"$1"
    IFS=. read -r minimum_major minimum_minor _ <<<"$2"
    [ "$found_major" -gt "$minimum_major" ] ||
        { [ "$found_major" -eq "$minimum_major" ] && [ "$found_minor" -ge "$minimum_minor" ]; }
}

# A program that must be there in a version: title, minimum, where to get it, then the program and how it tells its version.
check_version() {
    local title="$1" minimum="$2" source="$3" program="$4" found
    shift 3
    if ! command -v "$program" >/dev/null 2>&1; then
        complain "$title $minimum or newer" "not found ($program is not on the PATH)" "$source"
        return
    fi
    found="$(version_of "$@")"
    if [ -z "$found" ]; then
        complain "$title $minimum or newer" "$(command -v "$program") does not tell its version" "$source"
    elif ! at_least "$found" "$minimum"; then
        complain "$title $minimum or newer" "found $found ($(command -v "$program"))" "$source"
    fi
}

check_present() { # title, program, where to get it
    if ! command -v "$2" >/dev/null 2>&1; then
        complain "$1" "not found ($2 is not on the PATH)" "$3"
    elif ! "$2" --version >/dev/null 2>&1; then
        complain "$1" "$(command -v "$2") does not run" "$3"
    fi
}

check_rust() {
    local source="https://rustup.rs, then: rustup update stable"
    check_version Rust "$rust_minimum" "$source" rustc --version
    check_present Cargo cargo "$source"
}

check_python() {
    local source="your system's packages (on Debian also python3-venv), or https://www.python.org" program found
    find_python >/dev/null && return
    program="${PYTHON:-python3}"
    if ! command -v "$program" >/dev/null 2>&1; then
        complain "Python $python_minimum or newer" "not found ($program is not on the PATH)" "$source"
        return
    fi
    found="$(version_of "$program" --version)"
    if [ -n "$found" ] && at_least "$found" "$python_minimum"; then
        complain "Python with venv" "found $found ($(command -v "$program")) without the modules venv and ensurepip" "$source"
    else
        complain "Python $python_minimum or newer" "found ${found:-one that does not run} ($(command -v "$program"))" "$source"
    fi
}

check_node() {
    check_version Node.js "$node_minimum" "https://nodejs.org" node --version
    check_present npm npm "it comes with Node.js, on Debian as a package of its own"
}

check() {
    case "$1" in
    bash) check_version Bash "$bash_minimum" "your system's packages; on macOS: brew install bash" bash --version ;;
    git) check_present Git git "https://git-scm.com" ;;
    make) check_present "GNU make" make "your system's packages" ;;
    cc) check_present "a C compiler" "${CC:-cc}" "your system's packages: gcc or clang" ;;
    cxx) check_present "a C++ compiler" "${CXX:-c++}" "your system's packages: g++ or clang" ;;
    rust) check_rust ;;
    rustfmt) check_present rustfmt cargo-fmt "rustup component add rustfmt clippy" ;;
    clippy) check_present Clippy cargo-clippy "rustup component add rustfmt clippy" ;;
    python) check_python ;;
    node) check_node ;;
    go) check_version Go "$go_minimum" "https://go.dev/dl" go version ;;
    *)
        echo "scripts/require.sh knows bash git make cc cxx rust rustfmt clippy python node go, not '$1'" >&2
        exit 2
        ;;
    esac
}

if [ "$#" -eq 0 ]; then
    set -- bash git make cc rust python node go
fi
for thing in "$@"; do
    check "$thing"
done
exit "$missing"
