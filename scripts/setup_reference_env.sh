#!/usr/bin/env bash
# Make the interpreter that runs run.py: TransformerLens 2.16.1 in .venv-reference (or $REFERENCE_VENV), pinned versions.
# Prints its path. A later call with the same pins only prints it.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${REFERENCE_VENV:-.venv-reference}"
stamp="$venv/.pins"
if ! cmp -s constraints-reference.txt "$stamp"; then
  "${PYTHON:-python3}" -m venv --clear "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r constraints-reference.txt 1>&2
  cp constraints-reference.txt "$stamp"
fi
echo "$venv/bin/python"
