#!/bin/bash
# One training on two hosts without a scheduler, both with mets3d, the same code and the same store at the same path.
# On each host, with its number (0 or 1) and the address of host 0, GPUS of each host, and the words of train.py:
#   GPUS=4 deploy/two_hosts.sh 0 10.0.0.1 --config configs/brats_mets.yaml --data.store=stores/brats_mets
# A stop on either host stops both with a checkpoint; the same commands go on from there.
set -euo pipefail

if [ "$#" -lt 3 ]; then
  sed -n '2,5s/^# //p' "$0" >&2
  exit 2
fi
rank=$1 first=$2
shift 2
exec python -m mets3d.launch --config_file multi_node --num_machines 2 --machine_rank "$rank" \
  --num_processes "$((2 * ${GPUS:-1}))" --main_process_ip "$first" --main_process_port "${PORT:-29500}" train.py "$@"
