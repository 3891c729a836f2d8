#!/bin/bash
# Builds the image on a base of Debian and a CPU build of torch, and tries it: `make image`. Needs no Docker, but root,
# debootstrap, buildah, podman and runc. The trials have no network, a read-only root, /data and /runs alone.
#   BUILD_OPTIONS   more options of `buildah bud` and `buildah run`, such as -v for pip's settings of this host
#   IMAGE_WORK      folder for the base's tree and the trials' data; default: a temporary one
set -euo pipefail
cd "$(dirname "$0")/.."

image=localhost/mets3d
read -r -a options <<<"${BUILD_OPTIONS:-}"
torch=$(sed -n 's/^torch==//p' requirements.lock)
base=localhost/mets3d-base:$torch
work=${IMAGE_WORK:-$(mktemp -d)}
mkdir -p "$work"

say() { echo "image: $*"; }
fail() { say "WRONG: $*" >&2; exit 1; }

for tool in debootstrap buildah podman runc; do
  command -v "$tool" >/dev/null || fail "$tool is not installed; apt-get install debootstrap buildah podman runc"
done

make_base() {
  say "base: Debian's Python and torch $torch for CPUs"
  [ -d "$work/rootfs/usr" ] || debootstrap --variant=minbase \
    --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$work/rootfs" >"$work/debootstrap.log"
  local container
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$work/rootfs" / >/dev/null
  buildah run --isolation chroot --network host "${options[@]}" "$container" -- \
    python3 -m pip install --quiet --break-system-packages --no-cache-dir "torch==$torch"
  buildah commit --quiet "$container" "$base" >/dev/null
  buildah rm "$container" >/dev/null
}

# Words of `podman run`: the limits are those that a host without systemd can give.
inside() {
  podman --runtime runc run --network=none --read-only --read-only-tmpfs=false --shm-size 1g \
    --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 -v "$data:/data" -v "$runs:/runs" "$@"
}

buildah inspect --type image "$base" >/dev/null 2>&1 || make_base
say "build"
buildah bud --isolation chroot --network host --pull-never --format docker "${options[@]}" --quiet \
  --build-arg "BASE_IMAGE=$base" --build-arg "REVISION=$(git rev-parse HEAD)" --tag "$image" . >/dev/null
size() { podman image inspect --format '{{.Size}}' "$1"; }
say "size: $(($(size "$image") / 1000000)) MB, of which the base has $(($(size "$base") / 1000000)) MB"
if podman image inspect "$image" | grep -i -E 'WANDB_API_KEY|_TOKEN|PASSWORD'; then fail "the image holds a secret"; fi

data=$work/data runs=$work/runs
rm -rf "$data" "$runs"
mkdir -p "$data" "$runs"

say "a folder that user 10001 cannot write"
chmod 755 "$runs"
set +e
told=$(inside --rm "$image" train --config quickstart 2>&1)
code=$?
set -e
[ "$code" = 2 ] || fail "exit code $code, expected 2: $told"
grep -q 'user 10001 of the container cannot write it' <<<"$told" || fail "not said: $told"
chown 10001 "$data" "$runs"

say "without words: help"
inside --rm "$image" | grep -q preprocess || fail "no help"

# The quickstart, at a size that ends in a minute or two.
small=(--config quickstart --data.store=/data/store --train.steps=40 --validate.every=20 --train.checkpoint_every=10)
say "synth, preprocess"
inside --rm "$image" synth /data/cases --cases 9 --seed 0 --shape 64 64 48 --spacing 2.75 >/dev/null
inside --rm "$image" preprocess data/cases data/store --config configs/quickstart.yaml --jobs 2 >/dev/null

say "train, stopped in the middle"
inside --name mets3d-trial --detach "$image" train --launch cpu "${small[@]}" >/dev/null
for _ in $(seq 300); do
  [ "$(grep -c train "$runs"/quickstart/metrics.jsonl 2>/dev/null)" -ge 2 ] 2>/dev/null && break
  sleep 1
done
podman exec mets3d-trial /opt/mets3d/healthcheck.sh || fail "unhealthy while it trains"
podman exec mets3d-trial sh -c 'ls /dev/shm/mets3d-heartbeat-*' >/dev/null || fail "no heartbeat"
podman stop --time 300 mets3d-trial >/dev/null
code=$(podman inspect --format '{{.State.ExitCode}}' mets3d-trial)
podman logs mets3d-trial 2>&1 | tail -n 3
podman rm mets3d-trial >/dev/null
[ "$code" = 143 ] || fail "exit code $code of a stopped training, expected 143"
[ -e "$runs/quickstart/model.safetensors" ] && fail "it was not stopped in the middle"

say "train: the same command again"
inside --rm "$image" accelerate launch --config_file accelerate_configs/cpu.yaml train.py "${small[@]}" \
  >"$work/resumed.log" 2>&1 || fail "$(tail -n 5 "$work/resumed.log")"
grep '^resuming at step' "$work/resumed.log" || fail "it did not go on: $(head -n 5 "$work/resumed.log")"
[ -e "$runs/quickstart/model.safetensors" ] || fail "no weights: $(tail -n 5 "$work/resumed.log")"

say "predict, evaluate, report"
inside --rm "$image" predict runs/quickstart data/cases --held-out >/dev/null
inside --rm "$image" evaluate runs/quickstart data/cases >/dev/null
inside --rm "$image" report runs/quickstart >/dev/null
[ -s "$runs/quickstart/report/index.html" ] || fail "no page"
say "done"
