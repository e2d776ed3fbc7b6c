#!/usr/bin/env bash
# Run every check of CI on a machine that has only Python: environment, lint, types, tests. Offline after installation.
# Tests run in a random order; pytest prints its seed at the end, and --randomly-seed=N repeats it.
# Further arguments go to pytest, for example: bash scripts/run_cpu_tests.sh tests/unit -k norm
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup_env.sh
setup_env
setup_browser
echo "the interpreter in which run.py works: $(bash scripts/setup_reference_env.sh)"

export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false CUDA_VISIBLE_DEVICES=""
unset PYTHONDONTWRITEBYTECODE  # many processes import the same modules, which are compiled once
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=15 "$@"
if [ $# = 0 ]; then
    echo "the same at the lowest capability level of the processor:"
    bash scripts/run_matrix.sh --short
fi
