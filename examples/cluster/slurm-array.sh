#!/bin/bash
# Statistics over images on the tasks of a Slurm job array, without Ray. Submit it from a folder that all machines share:
#
#   array=$(sbatch --parsable slurm-array.sh net.onnx images/)
#   sbatch --dependency=afterok:$array --wrap 'secateur merge parts/*.profile -o net.profile'
#
# If single tasks fail, submit them again, for example with --array=3,7: the parts are numbered from 0 to SHARDS - 1.
#SBATCH --job-name=secateur-profile
#SBATCH --array=0-7
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
# A minute before its time is over, a task keeps the profile of the images seen.
#SBATCH --signal=B:INT@60
set -euo pipefail

SHARDS=8
network=$1
images=$2

mkdir -p parts
part=$(printf 'parts/%05d.profile' "$SLURM_ARRAY_TASK_ID")
# An incomplete profile of an earlier attempt is continued.
resume=()
[ ! -e "$part" ] || resume=(--resume)
# Where Slurm confines tasks to their devices (ConstrainDevices=yes), the only GPU in sight is that of the task. Elsewhere
# name it: --device N.
exec secateur profile "$network" --data "$images" --preset imagenet --shard "auto/$SHARDS" \
    "${resume[@]}" -o "$part"
