#!/usr/bin/env bash
# Mutation testing of lenses_min/, spec/compare and spec/schema: one small fault at a time, and a test must fail.
# Usage: bash scripts/mutation_test.sh [--minutes N] [--part K/N] [--survivors] [--seconds N] [module or room …]
#   --minutes N   stop after N minutes of judging (default 90); the same command goes on
#   --part K/N    only the K-th of every N mutants; N calls judge all
#   --survivors   judge the survivors that have no reason again, each by a minute of tests
#   --seconds N   of tests a mutant, processor time (default 3, with --survivors 60)
#   module, room  only these, all of their mutants anew, those with a reason too, for example: core.metrics spec.compare.diff spec.schema
# A mutant that has a reason in scripts/mutation_survivors.txt counts as survived and is not judged unless its module is named.
# Prints a line a module, and the tables of scripts/mutation_table.py at the end. To start anew: rm -r mutants
# mutants/coverage.json has what was measured of each test; a later call measures only the files of tests that changed.
# scripts/mutation_faults.py says what is mutated, scripts/mutation_judge.py how a mutant is judged and why by a tool of our own.
set -euo pipefail
cd "$(dirname "$0")/.."
here="$PWD"

refuse() {
    echo "mutation_test.sh: $1" >&2
    exit 2
}

minutes=90 part=1/1 further=() names=()
while [ $# -gt 0 ]; do
    case "$1" in
        --minutes)
            minutes="${2-}"
            [[ "$minutes" =~ ^[1-9][0-9]*$ ]] || refuse "--minutes takes a whole number from 1 on, got '$minutes'"
            shift
            ;;
        --part)
            part="${2-}"
            [[ "$part" =~ ^([1-9][0-9]*)/([1-9][0-9]*)$ ]] && [ "${BASH_REMATCH[1]}" -le "${BASH_REMATCH[2]}" ] ||
                refuse "--part takes K/N with K from 1 to N, got '$part'"
            shift
            ;;
        --seconds)
            [[ "${2-}" =~ ^[1-9][0-9]*$ ]] || refuse "--seconds takes a whole number from 1 on, got '${2-}'"
            further+=(--seconds "$2")
            shift
            ;;
        --survivors) further+=(--survivors) ;;
        -*) refuse "unknown option $1; the options are --minutes N, --part K/N, --seconds N and --survivors" ;;
        spec.*)
            [[ "$1" =~ ^spec\.(compare|schema)(\.|$) ]] && { [ -f "${1//.//}.py" ] || [ -d "${1//.//}" ]; } ||
                refuse "there is no module $1; write spec.compare.diff, spec.compare or spec.schema"
            names+=("$1")
            ;;
        *)
            [ -f "lenses_min/${1//.//}.py" ] || [ -d "lenses_min/${1//.//}" ] ||
                refuse "there is no module lenses_min.$1; write core.metrics, lenses.norm or core"
            names+=("$1")
            ;;
    esac
    shift
done

source scripts/setup_env.sh
setup_env
tool=.venv/mutation pins=scripts/mutation_requirements.txt
if ! cmp -s "$pins" "$tool/installed"; then
    rm -rf "$tool"
    .venv/bin/python -m pip install -q --no-deps --target "$tool" -r "$pins"
    cp "$pins" "$tool/installed"
fi

# a copy, in which a mutant may write what and where it likes
rm -rf mutants/tree mutants/forks
mkdir -p mutants/tree mutants/results
git ls-files -co --exclude-standard -z | xargs -0 cp --parents --target-directory mutants/tree
git -C mutants/tree init -q
ln -s "$here/.venv" mutants/tree/.venv
[ ! -d .venv-reference ] || ln -s "$here/.venv-reference" mutants/tree/.venv-reference

unset PYTHONDONTWRITEBYTECODE # modules are compiled once
export PYTHONPATH="$here/$tool:$here/scripts" HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
export CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 # threads must not fork
ended=0
.venv/bin/python scripts/mutation_judge.py --tree mutants/tree --results mutants/results --minutes "$minutes" --part "$part" \
    "${further[@]}" "${names[@]}" || ended=$?
python3 scripts/mutation_table.py || ended=$?
exit "$ended"
