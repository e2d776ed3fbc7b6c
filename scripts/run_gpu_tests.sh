#!/usr/bin/env bash
# Run the tests that need a CUDA GPU. Exit status 3: there is none, and nothing was tested.
# Needs a torch built for CUDA: in .venv, or in the interpreter that $GPU_PYTHON names. Further arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "${GPU_PYTHON:-}" ]; then
    python="$GPU_PYTHON"
else
    source scripts/setup_env.sh
    setup_env
    python=.venv/bin/python
fi

"$python" - <<'PY' || exit 3
import sys

import torch

if not torch.cuda.is_available():
    sys.exit(f"no GPU: nothing was tested (torch {torch.__version__} sees no CUDA device; see $GPU_PYTHON)")
for i in range(torch.cuda.device_count()):
    print(f"cuda:{i}: {torch.cuda.get_device_name(i)}")
PY
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
unset PYTHONDONTWRITEBYTECODE # many processes import the same modules, which are compiled once
exec "$python" -m pytest tests/gpu -rs "$@"
