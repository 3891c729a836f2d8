#!/bin/bash
# Fails when a training has not touched its heartbeat for half an hour; what is no training is healthy.
file=${METS3D_HEARTBEAT:-/dev/shm/mets3d-heartbeat-${HOSTNAME:-0}}
[ -e "$file" ] || exit 0
age=$(($(date +%s) - $(stat -c %Y "$file")))
[ "$age" -lt "${METS3D_HEARTBEAT_SECONDS:-1800}" ] || { echo "no step and no validated case for $age s"; exit 1; }
