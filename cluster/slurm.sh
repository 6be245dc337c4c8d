#!/bin/bash
# One sweep as one Slurm job: Ray's head on the first node, workers on the others, the sweep, and everything ends with
# the job. Checked by `bash -n` and against stand-ins for Slurm's and Ray's commands, never run on a Slurm cluster.
#
#   sbatch cluster/slurm.sh [SWEEP] [options of midef run]        from the root of the checkout
#
# The same command again goes on from the store, also after the time limit. Ctrl-C for a job: scancel --signal=INT
# --batch JOBID ends after the nodes of the plan that run now. One job per store at a time is enough; two only do work twice.
#SBATCH --job-name=midef
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --signal=B:INT@600
#SBATCH --output=midef-%j.log
set -euo pipefail
shared=${shared:-$HOME/midef}                # EDIT: a folder all nodes see
interface=${interface:-ib0}                  # EDIT: the network interface between the nodes: ip -brief address
venv=${venv:-$HOME/midef_venv}               # EDIT: made beforehand: python3 -m venv; pip install -e the checkout
port=$((20000 + SLURM_JOB_ID % 20000))       # others may run a Ray of their own beside this one

cd "$SLURM_SUBMIT_DIR"
export PATH="$venv/bin:$PATH" PYTHONPATH="$PWD"
export MIDEF_RESULTS="${MIDEF_RESULTS:-$shared/results}"
export MIDEF_DATA="${MIDEF_DATA:-$shared/data}" MIDEF_WEIGHTS="${MIDEF_WEIGHTS:-$shared/weights}"
export GLOO_SOCKET_IFNAME="$interface" NCCL_SOCKET_IFNAME="$interface"
export RAY_USAGE_STATS_ENABLED=0
unset OMP_NUM_THREADS RAY_ADDRESS RAY_AUTH_TOKEN
ulimit -n 65536 || true

# A token for this job alone, readable by you alone, on the file system that all nodes see. Compute nodes often share
# one flat network with every other user of the cluster: without a token any of them could run code as you.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$HOME/.ray/midef-$SLURM_JOB_ID.token"
mkdir -p "$HOME/.ray"
chmod 700 "$HOME/.ray"
(umask 077; od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$RAY_AUTH_TOKEN_PATH")
chmod 600 "$RAY_AUTH_TOKEN_PATH"

# `--block` ties each Ray to its job step: ending the step ends it, and nothing of another job is touched.
set -m                                       # else bash starts background commands deaf to SIGINT
steps=()
finish() {
    kill "${steps[@]}" 2> /dev/null || true
    wait "${steps[@]}" 2> /dev/null || true
    rm -f "$RAY_AUTH_TOKEN_PATH"
}
trap finish EXIT

# sed and awk read to the end: a reader that leaves early fails the whole line under pipefail.
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
head_ip=$(srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    ip -o -4 address show dev "$interface" | awk 'NR == 1 { split($4, part, "/"); print part[1] }')
[ -n "$head_ip" ] || { echo "midef: $head has no address on $interface; set interface" >&2; exit 3; }

start=(ray start --block --num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus="${SLURM_GPUS_ON_NODE:-0}")
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    "${start[@]}" --head --node-ip-address="$head_ip" --port="$port" --dashboard-host=127.0.0.1 &
steps+=($!)
for _ in $(seq 60); do
    ray health-check --address "$head_ip:$port" > /dev/null 2>&1 && break
    sleep 2
done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --overlap --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks-per-node=1 --exclude="$head" \
        "${start[@]}" --address="$head_ip:$port" &
    steps+=($!)
fi

export RAY_ADDRESS="$head_ip:$port"
python -m midef doctor --cluster || echo "midef: see above; the sweep starts with the nodes there are"
early=
trap 'early=1' INT                           # from --signal above, 10 minutes before the limit
python sweep/full_matrix.py "$@" &
sweep=$!
trap 'kill -INT $sweep' INT
[ -z "$early" ] || kill -INT $sweep          # it came between these lines
code=0
wait $sweep || code=$?
while kill -0 $sweep 2> /dev/null; do        # a signal ends `wait`, not the sweep
    code=0
    wait $sweep || code=$?
done
exit $code
