#!/usr/bin/env bash
# The interpreter in which run.py works: TransformerLens 2.16.1 in .venv-reference (or $REFERENCE_VENV), pinned versions.
# A later call with the same pins returns at once. Prints the interpreter's path.
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
