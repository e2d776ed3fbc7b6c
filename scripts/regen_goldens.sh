#!/usr/bin/env bash
# Capture a run.py, show every difference, and promote the capture to golden/.
# Usage: bash scripts/regen_goldens.sh PATH/TO/run.py "why its outputs changed" [CASE …]
# The capture stays in $CAPTURE (default: a new folder under runs/), also if the promotion is refused.
set -euo pipefail
if [ $# -lt 2 ] || [ ! -f "$1" ]; then
    echo "usage: bash scripts/regen_goldens.sh PATH/TO/run.py \"why its outputs changed\" [CASE …]; got: $*" >&2
    exit 2
fi
run_py="$(realpath "$1")" reason="$2"
shift 2
cd "$(dirname "$0")/.."
source scripts/setup_env.sh
setup_env
reference="$(bash scripts/setup_reference_env.sh)"
capture="${CAPTURE:-runs/capture-$(date +%Y%m%d-%H%M%S)}"
.venv/bin/python -m spec capture --run-py "$run_py" --python "$reference" --out "$capture" "$@"
.venv/bin/python -m spec promote "$capture" --reason "$reason"
