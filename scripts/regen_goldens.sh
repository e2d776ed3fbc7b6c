#!/usr/bin/env bash
# Capture a run.py, show every difference, and promote the capture to golden/.
# Usage: bash scripts/regen_goldens.sh PATH/TO/run.py "why its outputs changed" [--only NAME …] [CASE …]
# Each --only NAME goes to promote, which refuses where anything else changes; all else goes to capture, such as -j N.
# The capture stays in $CAPTURE (default: a new folder under runs/), also if the promotion is refused.
set -euo pipefail
if [ $# -lt 2 ] || [ ! -f "$1" ]; then
    echo "usage: bash scripts/regen_goldens.sh PATH/TO/run.py \"why its outputs changed\" [--only NAME …] [CASE …]; got: $*" >&2
    exit 2
fi
run_py="$(realpath "$1")" reason="$2"
shift 2
only=() captured=()
while [ $# -gt 0 ]; do
    case "$1" in
        --only)
            if [ $# -lt 2 ]; then
                echo "--only takes a name, such as 'records: row'; got none" >&2
                exit 2
            fi
            only+=(--only "$2")
            shift
            ;;
        --only=*) only+=("$1") ;;
        *) captured+=("$1") ;;
    esac
    shift
done
cd "$(dirname "$0")/.."
source scripts/setup_env.sh
setup_env
reference="$(bash scripts/setup_reference_env.sh)"
capture="${CAPTURE:-runs/capture-$(date +%Y%m%d-%H%M%S)}"
.venv/bin/python -m spec capture --run-py "$run_py" --python "$reference" --out "$capture" "${captured[@]}"
.venv/bin/python -m spec promote "$capture" --reason "$reason" "${only[@]}"
