#!/bin/bash
# The image's first process under tini: `train ...`, `predict ...` and every other verb of mets3d, or any other command.
set -euo pipefail

# A read-only root has no /tmp to write to; temporary files and compiled kernels then lie beside the runs.
if ! [ -w /tmp ] && [ -w /runs ]; then
  export TMPDIR=/runs/.scratch
  mkdir -p "$TMPDIR"
fi
export HOME="${TMPDIR:-/tmp}/home"
mkdir -p "$HOME" 2>/dev/null || true

# The health check looks at a file that a training touches; under --ipc=host other containers' files lie beside it.
export METS3D_HEARTBEAT=/dev/shm/mets3d-heartbeat-${HOSTNAME:-0}
rm -f "$METS3D_HEARTBEAT" 2>/dev/null || true

# Mounted for writing, but by a user who may not: said now and not when the first result is to be written.
options=$(awk '$5 == "/runs" { print $6 }' /proc/self/mountinfo | tail -n 1)
case ",$options," in
  *,rw,*)
    [ -w /runs ] || {
      echo "mets3d: /runs is mounted, but user $(id -u) of the container cannot write it; on the host run" \
        "\`chown $(id -u) FOLDER\`, or give docker run --user \"\$(id -u):\$(id -g)\"" >&2
      exit 2
    }
    ;;
esac

case "${1:-}" in
  accelerate)
    # Accelerate's own launcher leaves a single training process behind when it is told to stop; ours passes it on.
    if [ "${2:-}" = launch ]; then
      shift 2
      exec python -m mets3d.launch "$@"
    fi
    exec "$@"
    ;;
  python | python3 | wandb | nvidia-smi | bash | sh | mets3d) exec "$@" ;;
  *) exec mets3d "$@" ;;
esac
