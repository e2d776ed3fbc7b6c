#!/usr/bin/env bash
#SBATCH --job-name=lenses-min
#SBATCH --array=1-10
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=96G
#SBATCH --time=04:00:00
#SBATCH --output=lenses-min-%A_%a.log
# One model of a list for each task of a SLURM array: sbatch scripts/slurm_sweep.sh OUT [options of lenses-min sweep]
# Task N takes line N of $MODELS (default: the ten of lenses_min/sweep/models.txt; blank lines and comments do not count)
# and writes OUT/N/run-latest/: tasks share no folder, as a sweep locks its own. Submitted again with the same line and
# options, a task that is complete ends at once, and any other goes on as `sweep` does.
# Run it from the checkout; $LENSES_MIN names another lenses-min than .venv/bin/lenses-min.
set -euo pipefail
out="${1:?name the folder of the outputs: sbatch scripts/slurm_sweep.sh OUT [options of lenses-min sweep]}"
shift
task="${SLURM_ARRAY_TASK_ID:?it is set by SLURM in a task of an array: submit this script with sbatch}"
list="${MODELS:-lenses_min/sweep/models.txt}"
line="$(grep -Ev '^[[:space:]]*(#|$)' "$list" | sed -n "${task}p")"
if [ -z "$line" ]; then
    echo "error: $list has no model $task; set --array to the number of its models" >&2
    exit 2
fi

folder="$out/$task"
mkdir -p "$folder"
request="$(printf '%s\n' "$line" "$@")"
if [ "$(cat "$folder/request.txt" 2>/dev/null)" = "$request" ] &&
    grep -q '"finished_at": "' "$folder/run-latest/sweep.manifest.json" 2>/dev/null; then
    echo "complete already: $line"
    exit 0
fi
printf '%s\n' "$request" > "$folder/request.txt"
printf '%s\n' "$line" > "$folder/model.txt"
exec "${LENSES_MIN:-.venv/bin/lenses-min}" sweep --models "$folder/model.txt" --out-dir "$folder" "$@"
