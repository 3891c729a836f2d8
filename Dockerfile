# On a GPU host:
#   docker build -t mets3d .
#   docker run --gpus all --ipc=host --stop-timeout 600 -v /my/data:/data -v /my/runs:/runs mets3d \
#     train --config brats_mets --data.store=/data/stores/brats_mets
# `docker run mets3d` lists the other commands. Only /data and /runs need to be mounted, also with --read-only.
# docs/scaling.md says what a stop can lose. The base image brings torch; its version must be the pinned one.
ARG BASE_IMAGE=pytorch/pytorch:2.13.0-cuda12.6-cudnn9-runtime

FROM ${BASE_IMAGE} AS dependencies
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements.lock pyproject.toml ./
COPY deploy/check_base.py deploy/
# The base's own torch and CUDA stay visible; installing them again would pull gigabytes.
RUN python3 deploy/check_base.py > wanted.txt \
    && grep -v -E '^(torch|triton|cuda-|nvidia-)' requirements.lock > constraints.txt \
    && python3 -m venv --system-site-packages /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -r wanted.txt -c constraints.txt
COPY setup.py MANIFEST.in README.md LICENSE NOTICE train.py ./
COPY configs configs
COPY accelerate_configs accelerate_configs
COPY deploy deploy
COPY mets3d mets3d
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps .

FROM ${BASE_IMAGE}
ARG REVISION=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="mets3d" \
      org.opencontainers.image.description="Brain-metastasis segmentation in 3D MRI: training, prediction, scores" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# Triton compiles a launcher for the distance kernels on the host at first use: it needs a C compiler and Python.h.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev tini procps \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 mets3d \
    && mkdir /data /runs && chown mets3d /data /runs
COPY --from=dependencies /opt/venv /opt/venv
COPY deploy/entrypoint.sh deploy/healthcheck.sh /opt/mets3d/
WORKDIR /app
# The README's commands name these files, and folders `runs` and `data` beside them.
COPY train.py ./
COPY configs configs
COPY accelerate_configs accelerate_configs
RUN ln -s /runs runs && ln -s /data data && ln -s /data/stores stores
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
USER 10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=10s CMD ["/opt/mets3d/healthcheck.sh"]
ENTRYPOINT ["tini", "--", "/opt/mets3d/entrypoint.sh"]
CMD ["--help"]
