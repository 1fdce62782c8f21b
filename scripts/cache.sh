# shellcheck shell=bash
# Where the project's tools are installed: one folder for all checkouts, never the working tree. To be sourced.
#
# A tool lives in a folder named after everything that decides its content, so that a folder marked ready is never
# changed again and several checkouts or versions stand beside each other.

# The Python to work with: the first of $PYTHON and the usual names that is 3.11 or newer and can make virtualenvs.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Prints the folder of the tool with the name $1.
cache_folder() {
    local root="${XDG_CACHE_HOME:-${HOME:?neither XDG_CACHE_HOME nor HOME is set}/.cache}"
    case "$root" in
    /*) ;;
    *) root="$PWD/$root" ;;
    esac
    printf '%s/larder/%s\n' "$root" "$1"
}

# Makes sure that folder $1 was built by the rest of the arguments (a command that gets the folder as its last one).
# Whoever comes first builds, others wait; a build that was cut short is done again from nothing.
ensure_built() {
    local folder="$1" python
    shift
    [ -e "$folder/.ready" ] && return
    python="$(find_python)" || {
        echo "Python 3.11 or newer with venv is needed: see scripts/require.sh python" >&2
        return 1
    }
    mkdir -p "$(dirname "$folder")"
    (
        # The lock belongs to the open file, so it ends with this subshell however that ends. Python takes it because
        # not every system has the flock command.
        exec 9>"$folder.lock"
        "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' || exit
        if [ ! -e "$folder/.ready" ]; then
            rm -rf "$folder"
            # Background processes of the build must not inherit the lock: 9 is closed for it.
            "$@" "$folder" 9>&- || exit
            touch "$folder/.ready"
        fi
    )
}

# Runs a command in silence; when it fails, shows what it said.
quietly() {
    local said status=0
    said="$("$@" 2>&1)" || status=$?
    if [ "$status" -ne 0 ]; then
        printf '%s\n' "$said" >&2
        echo "failed: $*" >&2
    fi
    return "$status"
}
