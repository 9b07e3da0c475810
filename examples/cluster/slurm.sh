#!/usr/bin/env bash
#SBATCH --job-name=counterground
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
# Ray on all nodes of the job, the evaluation on the first of them:
#   sbatch --nodes=4 examples/cluster/slurm.sh /shared/photos -m efficientnet-lite0 -o /shared/runs/slurm
# For GPUs add --gpus-per-task=N. The virtual environment and the photos are on a disk that all nodes share.
set -euo pipefail
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token # the token is in the home folder, which nodes share
export OMP_NUM_THREADS=8                             # threads of a worker
ray get-auth-token --generate > /dev/null
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export RAY_ADDRESS="$head:6379"
srun ray symmetric-run --address "$RAY_ADDRESS" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" -- counterground evaluate "$@" -X engine=ray
