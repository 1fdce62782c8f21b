#!/usr/bin/env bash
# Prints the path of a Python that has the packages of a requirements file; installs them when they are not there yet.
#
#   scripts/python-env.sh [REQUIREMENTS]        default: examples/credit-scoring/requirements.txt
#   "$(scripts/python-env.sh)" -m pytest …
#
# Nothing but the path goes to standard output. $PYTHON names the interpreter to build on.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/cache.sh
. "$here/cache.sh"

requirements="${1:-$here/../examples/credit-scoring/requirements.txt}"
if [ ! -r "$requirements" ]; then
    echo "no requirements file at $requirements" >&2
    exit 2
fi
if ! python="$(find_python)"; then
    "$here/require.sh" python
    exit 1
fi

# The packages depend on the file and on the interpreter.
environment_key() {
    "$python" - "$requirements" <<'PYTHON'
import hashlib, pathlib, sys

interpreter = f"{sys.version} {sys.base_prefix}\n".encode()
print(hashlib.sha256(interpreter + pathlib.Path(sys.argv[1]).read_bytes()).hexdigest()[:16])
PYTHON
}

build_environment() {
    local folder="$1"
    echo "installing the Python packages of $(basename "$requirements") (once, about a minute)" >&2
    quietly "$python" -m venv "$folder" || return
    quietly "$folder/bin/python" -m pip install --disable-pip-version-check --no-input -r "$requirements"
}

folder="$(cache_folder "python-$(environment_key)")"
ensure_built "$folder" build_environment
echo "$folder/bin/python"
