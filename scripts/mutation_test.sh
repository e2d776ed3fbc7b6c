#!/usr/bin/env bash
# Mutation testing of lenses_min/: one small fault at a time is put into its functions, and the quick tests must fail.
# Usage: bash scripts/mutation_test.sh [--minutes N] [--survivors] [module …]
#   --minutes N   stop after N minutes (default 60); the next start continues there
#   --survivors   run the survivors again, after tests were added
#   module        run the mutants of these modules again, for example: metrics lenses.norm
# Needs Python 3.11 or newer. Prints the tables of scripts/mutation_table.py at the end. To start anew: rm -r mutants
#
# Why mutmut 3: importing torch and the bridge takes ten seconds, so a tool that starts a process per mutant (cosmic-ray)
# needs hours; mutmut imports once and forks. It works under the shape checks of tests/conftest.py.
# It does not mutate module constants and decorated functions (properties, context managers).
set -euo pipefail
cd "$(dirname "$0")/.."

refuse() {
    echo "mutation_test.sh: $1" >&2
    exit 2
}

minutes=60 survivors="" names=()
while [ $# -gt 0 ]; do
    case "$1" in
        --minutes)
            minutes="${2-}"
            [[ "$minutes" =~ ^[1-9][0-9]*$ ]] || refuse "--minutes takes a whole number from 1 on, got '$minutes'"
            shift
            ;;
        --survivors) survivors=yes ;;
        -*) refuse "unknown option $1; the options are --minutes N and --survivors" ;;
        *)
            [ -f "lenses_min/${1//.//}.py" ] || refuse "there is no module lenses_min.$1; write metrics or lenses.norm"
            names+=("lenses_min.$1.x*")
            ;;
    esac
    shift
done
[ -z "$survivors" ] || mapfile -t -O "${#names[@]}" names < <(python3 scripts/mutation_table.py --survivors)

source scripts/setup_env.sh
setup_env
tool=.venv/mutation pins=scripts/mutation_requirements.txt
if ! cmp -s "$pins" "$tool/installed"; then
    rm -rf "$tool"
    .venv/bin/python -m pip install -q --no-deps --target "$tool" -r "$pins"
    cp "$pins" "$tool/installed"
fi

export PYTHONPATH="$PWD/$tool:$PWD/scripts" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false CUDA_VISIBLE_DEVICES=""
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 # a process with threads must not fork
ended=0
timeout --foreground --signal=INT --kill-after=60 "${minutes}m" env --default-signal=INT \
    .venv/bin/python "$tool/bin/mutmut" run --max-children 2 "${names[@]}" | tr '\r' '\n' | awk 'NR % 25 == 1 || !/^.? ?[0-9]+\//' ||
    ended=$?
python3 scripts/mutation_table.py
exit "$ended"
