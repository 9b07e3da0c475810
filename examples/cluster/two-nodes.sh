#!/usr/bin/env bash
# Two Ray nodes of one processor each on this machine, an evaluation on both of them, and their end:
#   examples/cluster/two-nodes.sh stamps -m counterground:stamps-biased -o runs/two-nodes
set -euo pipefail
port=${PORT:-6390}
logs=$(mktemp -d)
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token # all parts of the cluster show the same token
export OMP_NUM_THREADS=1                             # threads of a worker
nodes=()
trap 'kill -9 "${nodes[@]}"' EXIT # Ray's other processes end with them

ray get-auth-token --generate > /dev/null
ray start --block --head --port="$port" --num-cpus=1 --include-dashboard=false > "$logs/head" 2>&1 &
nodes+=($!)
until ray health-check --address "127.0.0.1:$port" > /dev/null 2>&1; do sleep 1; done
ray start --block --address="127.0.0.1:$port" --num-cpus=1 > "$logs/node" 2>&1 &
nodes+=($!)
until grep -q 'runtime started' "$logs/node"; do sleep 1; done

RAY_ADDRESS="127.0.0.1:$port" counterground evaluate "$@" -X engine=ray
