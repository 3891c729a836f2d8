# Training on a GPU host:
#   docker build -t mets3d .
#   docker run --gpus all --ipc=host -v /my/stores:/data -v /my/runs:/app/runs mets3d \
#     --config_file accelerate_configs/single_gpu.yaml train.py --config configs/brats_mets.yaml --data.store=/data/brats_mets
# docs/scaling.md says what a stop can lose. The base image brings torch; its version must be the pinned one.
ARG BASE_IMAGE=pytorch/pytorch:2.13.0-cuda12.6-cudnn9-runtime

FROM ${BASE_IMAGE} AS dependencies
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
COPY requirements.txt constraints.txt /build/
WORKDIR /build
# The base's own torch stays visible; installing it again would pull gigabytes.
RUN python3 -m venv --system-site-packages /opt/venv \
    && grep -v '^torch==' requirements.txt > without_torch.txt \
    && /opt/venv/bin/pip install --no-cache-dir -r without_torch.txt -c constraints.txt \
    && /opt/venv/bin/python -c 'import re, torch; want = re.search("^torch==(.*)$", open("requirements.txt").read(), re.M)[1]; assert torch.__version__.split("+")[0] == want, f"base image has torch {torch.__version__}, expected {want}"'

FROM ${BASE_IMAGE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mets3d" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# Triton compiles a launcher for the distance kernels on the host at first use: it needs a C compiler and Python.h.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev tini procps \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 mets3d
COPY --from=dependencies /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/home/mets3d
WORKDIR /app
COPY --chown=mets3d:mets3d . .
RUN pip install --no-cache-dir --no-deps . && mkdir -p runs && chown -R mets3d:mets3d /app
USER 10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "python", "-m", "mets3d.launch"]
CMD ["--config_file", "accelerate_configs/single_gpu.yaml", "train.py", "--help"]
