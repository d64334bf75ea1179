#!/bin/bash
# Runs fer-tune on all nodes of a Slurm allocation, with Ray between them.
#
#     sbatch slurm.sh sweeps/resnet.yaml --hours 7
#
# The arguments are those of `fer-tune run`. Set FER_TUNE_DIR to a folder that outlives the job, and
# FER_TUNE_STORAGE to a PostgreSQL database: SQLite does not work well on a network file system.
# When the time or the allocation ends, running trials leave checkpoints, and the job queues itself
# again. The same study then continues.

#SBATCH --job-name=fer-tune
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=fer-tune-%j.log
# SIGTERM comes to this script alone, 120 seconds before the end. For a preemption the cluster needs
# PreemptParameters=send_user_signal, and a GraceTime.
#SBATCH --signal=B:TERM@120

set -euo pipefail

if [ $# -eq 0 ]; then
    echo "usage: sbatch slurm.sh SWEEP... [OPTIONS OF fer-tune run]" >&2
    exit 2
fi

export FER_TUNE_DIR="${FER_TUNE_DIR:-$SLURM_SUBMIT_DIR/storage}"
export RAY_DISABLE_USAGE_STATS=1

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head="${nodes[0]}"
# Two jobs on one node get different ports.
port=$((20000 + SLURM_JOB_ID % 20000))
address="$(srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}'):$port"
cpus="${SLURM_CPUS_PER_TASK:-1}"
gpus="${SLURM_GPUS_ON_NODE:-0}"

steps=()
run=""
drained=""

start_ray() { # NODE, and the options of `ray start`
    local node="$1"
    shift
    srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" \
        ray start "$@" --num-cpus="$cpus" --num-gpus="$gpus" --block &
    steps+=("$!")
}

drain() {
    drained=yes
    echo "SIGTERM: running trials leave checkpoints."
    if [ -n "$run" ]; then
        kill -TERM "$run" 2>/dev/null || true
    fi
}

stop_ray() {
    if [ ${#steps[@]} -gt 0 ]; then
        kill -TERM "${steps[@]}" 2>/dev/null || true
        wait "${steps[@]}" 2>/dev/null || true
    fi
}

trap drain TERM
trap stop_ray EXIT

start_ray "$head" --head --node-ip-address="${address%:*}" --port="$port" --include-dashboard=false
for _ in $(seq 60); do
    if ray status --address="$address" >/dev/null 2>&1; then
        break
    fi
    sleep 1
done
for node in "${nodes[@]:1}"; do
    start_ray "$node" --address="$address"
done

status=0
if [ -z "$drained" ]; then
    # This script runs on the head's node, so `auto` finds the cluster. Workers on other nodes join
    # when they are ready.
    export RAY_ADDRESS="$address"
    fer-tune run "$@" --engine ray --ray-address auto --workers auto &
    run="$!"
    wait "$run" || status=$?
    # A signal ends `wait`, and fer-tune may still be writing checkpoints.
    while kill -0 "$run" 2>/dev/null; do
        status=0
        wait "$run" || status=$?
    done
fi

if [ -n "$drained" ]; then
    scontrol requeue "$SLURM_JOB_ID" || true
fi
exit "$status"
