# The images of CostCurve, one target each: service (HTTP, without torch), worker (trains), ray (workers as Ray's actors).
#
#     docker build --target service -t costcurve-service .
#     docker build --target worker -t costcurve-worker .                          # on CPUs
#     docker build --target worker -t costcurve-worker:cuda --build-arg TORCH=cuda .
#
# Apart from the source, a build reads the base image, a package index and, for the workers, a Debian mirror.

# A Debian image with Python 3.11 or later as `python`.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
# build: MNIST becomes part of the worker's image. use: a worker downloads it at its first use.
ARG MNIST=use


FROM ${PYTHON_IMAGE} AS base
ENV PATH=/opt/costcurve/bin:$PATH \
    PYTHONPATH=/opt/costcurve/programs \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1


FROM base AS packages
# The package indexes, if not pip's default. Neither argument becomes part of an image that runs.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
# pip would take an empty index variable for an address.
RUN printf '%s\n' '#!/bin/sh' \
      '[ -n "$PIP_INDEX_URL" ] || unset PIP_INDEX_URL' \
      '[ -n "$PIP_EXTRA_INDEX_URL" ] || unset PIP_EXTRA_INDEX_URL' \
      'exec python -m pip "$@"' > /usr/local/bin/index-pip \
 && chmod 755 /usr/local/bin/index-pip \
 && python -m venv /opt/costcurve
WORKDIR /build


# Every package has its version and its hashes in deploy/docker/requirements, which `make hashes` writes; pip refuses other
# files. A layer of dependencies stays cached until its file changes.
FROM packages AS service-packages
COPY deploy/docker/requirements/service.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    index-pip install --quiet --require-hashes --requirement service.txt \
 && python -m pip check \
 && python -m pip uninstall --quiet --yes pip setuptools


FROM packages AS worker-packages
# cpu: torch's build without GPU libraries, from TORCH_INDEX_URL; set that to an empty value if the package index has
# this build. cuda: the build that the package index has for Linux on x86-64.
ARG TORCH=cpu
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
COPY deploy/docker/requirements/torch-*.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    case "$TORCH" in \
      cpu) index=${TORCH_INDEX_URL:+--extra-index-url $TORCH_INDEX_URL} ;; \
      cuda) index= ;; \
      *) echo "TORCH is '$TORCH'; it must be cpu or cuda" >&2; exit 1 ;; \
    esac \
 && index-pip install --quiet --no-deps --require-hashes $index --requirement "torch-$TORCH.txt"
COPY deploy/docker/requirements/worker.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    index-pip install --quiet --require-hashes --requirement worker.txt \
 && python -m pip check


FROM worker-packages AS ray-packages
COPY deploy/docker/requirements/ray.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    index-pip install --quiet --no-deps --require-hashes --requirement ray.txt \
 && python -m pip check


# What builds the project does not become part of an image.
FROM packages AS builder
COPY deploy/docker/requirements/build.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    index-pip install --quiet --require-hashes --requirement build.txt


# The project has a layer of its own, so a new version transfers a few megabytes and no dependencies.
FROM builder AS service-project
COPY . ./
RUN python -m pip install --quiet --no-index --no-deps --no-build-isolation --prefix /project . \
 && mkdir /project/programs && cp -r service /project/programs/


# The engine is compiled for every processor of the architecture, and selects its instruction set when it is loaded.
FROM builder AS worker-project
# An image with Debian's own Python lacks its headers.
RUN headers=$(test -e "$(python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" || echo python3-dev) \
 && apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends g++ $headers \
 && rm -rf /var/lib/apt/lists/*
COPY . ./
RUN python -m pip install --quiet --no-index --no-deps --no-build-isolation --prefix /project . ./workers/engines/native \
 && rm -r workers/engines/native \
 && mkdir /project/programs && cp -r workers /project/programs/


FROM worker-packages AS mnist-build
COPY --from=worker-project /project /opt/costcurve
RUN XDG_CACHE_HOME=/cache python -m workers.training.datasets.mnist

FROM base AS mnist-use
RUN mkdir -p /cache/costcurve/mnist

FROM mnist-${MNIST} AS mnist


# The common part of all images. Only the folders below /var and /tmp must be writable.
FROM base AS running
ENV COSTCURVE_HOME=/var/lib/costcurve \
    COSTCURVE_LOG_FORMAT=json \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    XDG_CACHE_HOME=/var/cache
RUN groupadd --system --gid 10001 costcurve \
 && useradd --system --uid 10001 --gid costcurve --home-dir /tmp --no-create-home --shell /usr/sbin/nologin costcurve \
 && install --directory --owner costcurve --group costcurve \
      /var/lib/costcurve /var/lib/costcurve/checkpoints /var/cache/costcurve \
 && install --directory --mode 0700 --owner costcurve --group costcurve /var/lib/costcurve/keys
WORKDIR /var/lib/costcurve
STOPSIGNAL SIGTERM
LABEL org.opencontainers.image.title="CostCurve" \
      org.opencontainers.image.licenses="MIT"


FROM running AS worker-base
COPY --from=mnist --chown=costcurve:costcurve /cache/costcurve /var/cache/costcurve


FROM worker-base AS ray
COPY --from=ray-packages /opt/costcurve /opt/costcurve
COPY --from=worker-project /project /opt/costcurve
# The project installs even without the compiled engine; in this image that would be a fault.
RUN python -c 'import sys; from workers.engines import fused_cpu; sys.exit(fused_cpu.why_missing())'
USER costcurve
CMD ["costcurve", "work", "--help"]
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.description="CostCurve's training workers as actors of Ray" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION


FROM worker-base AS worker
COPY --from=worker-packages /opt/costcurve /opt/costcurve
COPY --from=worker-project /project /opt/costcurve
# The project installs even without the compiled engine; in this image that would be a fault.
RUN python -c 'import sys; from workers.engines import fused_cpu; sys.exit(fused_cpu.why_missing())'
USER costcurve
CMD ["python", "-m", "workers"]
HEALTHCHECK --interval=15s --timeout=20s --start-period=60s --retries=3 \
    CMD ["python", "-m", "workers.health"]
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.description="CostCurve's training workers" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION


FROM running AS service
COPY --from=service-packages /opt/costcurve /opt/costcurve
COPY --from=service-project /project /opt/costcurve
USER costcurve
EXPOSE 8000
CMD ["python", "-m", "service", "--host", "0.0.0.0", "--port", "8000"]
HEALTHCHECK --interval=5s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=9)"]
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.description="CostCurve's HTTP service" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION
