#!/usr/bin/env bash
# Run golden, property, corrected and real-model tests under every capability level of this processor, one and two
# threads, oneDNN and MKL limited, and the oldest and newest declared Python: a line per configuration (matrix.py).
# Usage: bash scripts/run_matrix.sh [--short]; CI runs --short. A Python that is not on this machine is left out.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup_env.sh
case "$*" in
    "" | --short) ;;
    *)
        echo "usage: bash scripts/run_matrix.sh [--short]; got: $*" >&2
        exit 2
        ;;
esac

# Print an interpreter of a version such as 3.13, from PATH or pyenv.
find_python() {
    local candidate
    for candidate in $(type -ap "python$1") "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2> /dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

setup_env
interpreters=(.venv/bin/python)
if [ $# = 0 ]; then
    here="$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    for version in $(.venv/bin/python scripts/matrix.py --declared); do
        [ "$version" != "$here" ] || continue
        if python="$(find_python "$version")"; then
            PYTHON="$python" VENV=".venv-$version" setup_env
            interpreters+=(".venv-$version/bin/python")
        else
            echo "Python $version is declared and was not found on this machine: not run"
        fi
    done
fi
exec .venv/bin/python scripts/matrix.py "$@" "${interpreters[@]}"
