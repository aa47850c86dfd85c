# The project's images, a stage for each: operator, monitor, model (server and trainer), drift, storage-initializer.
#
#   docker build --target operator .
#   docker build --target monitor .
#   docker build --target model .
#   docker build --target drift .
#
# BASE_IMAGE: a Debian 12 with Python 3.11 and its venv module; the test cluster gives one of its own.
# COMMIT: what `git rev-parse HEAD` says, for the provenance of versions that are trained in the image.
# PYTHON_INDEX: take packages from this index instead of the default one.
# TORCH_INDEX: an index with other builds of torch, for instance PyTorch's own for CPUs, which makes the model's
#   image about 4 GB smaller. Only then is torch installed without the lock file's hashes.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# ---- uv, and the lock file as plain requirement lists. Neither ends up in an image.
FROM ${BASE_IMAGE} AS tools
ARG UV_VERSION=0.13.9
ARG PYTHON_INDEX
WORKDIR /src
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/uv && \
    /opt/uv/bin/pip install --disable-pip-version-check --quiet \
        ${PYTHON_INDEX:+--index-url "$PYTHON_INDEX"} "uv==${UV_VERSION}"
COPY docker/install /opt/uv/install
COPY pyproject.toml uv.lock ./
# Lists, and not `uv sync`: a layer is then keyed by what it installs, not by every edit of pyproject.toml.
RUN export="/opt/uv/bin/uv export --quiet --frozen --no-header --no-annotate --no-emit-project" && \
    $export --no-default-groups --extra operator --output-file operator.txt && \
    $export --no-default-groups --extra monitor --output-file monitor.txt && \
    $export --no-default-groups --extra model --output-file model.txt && \
    $export --no-default-groups --extra model --extra drift --extra alibi --output-file drift-all.txt && \
    $export --only-group storage --output-file storage.txt && \
    sed -E -e '/^(torch==|triton|nvidia-|cuda-)/d' -e '/--hash/d' -e 's/ \\$//' model.txt > model-unhashed.txt && \
    sed -n -E 's/^(torch==[0-9.]+).*/\1/p' model.txt > torch.txt && \
    awk 'NR == FNR { if ($0 !~ /^[ #]/) known[$1] = 1; next } /^[^ #]/ { more = !($1 in known) } more' \
        model.txt drift-all.txt > drift.txt

# ---- the project itself, without dependencies, as a folder of its own: the thin layer that changes often
FROM tools AS project
ARG PYTHON_INDEX
COPY README.md LICENSE ./
COPY operator operator
COPY model model
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/install --no-deps --target /app/project .

# ---- operator
FROM ${BASE_IMAGE} AS operator
ARG PYTHON_INDEX
COPY --from=tools /src/operator.txt /app/requirements.txt
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/install --require-hashes -r /app/requirements.txt
COPY --from=project /app/project /app/project
ENV PATH=/app/project/bin:/app/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app/project PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["puzzle-operator"]

# ---- monitor
FROM ${BASE_IMAGE} AS monitor
ARG PYTHON_INDEX
COPY --from=tools /src/monitor.txt /app/requirements.txt
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/install --require-hashes -r /app/requirements.txt
COPY --from=project /app/project /app/project
ENV PATH=/app/project/bin:/app/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app/project PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
WORKDIR /tmp
EXPOSE 8090
ENTRYPOINT ["puzzle-monitor"]

# ---- the packages of the model, torch among them: the large layers that model and drift share
FROM ${BASE_IMAGE} AS model-packages
ARG PYTHON_INDEX
ARG TORCH_INDEX
# Debian keeps one security-supported build of the package; a pinned one would be gone with the next update. Its
# installation wants the manual pages' folder, which slim bases lack.
# hadolint ignore=DL3008
RUN mkdir -p /usr/share/man/man1 && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends openjdk-17-jre-headless && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY --from=tools /src/model.txt /src/model-unhashed.txt /src/torch.txt /app/requirements/
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    --mount=type=cache,target=/root/.cache/uv \
    if [ -z "$TORCH_INDEX" ]; then \
        /opt/uv/install --require-hashes -r /app/requirements/model.txt; \
    else \
        /opt/uv/install --no-deps -r /app/requirements/model-unhashed.txt && \
        PYTHON_INDEX="$TORCH_INDEX" /opt/uv/install -r /app/requirements/torch.txt; \
    fi

# ---- model: TorchServe with its Java runtime, and the trainer
FROM model-packages AS model
# The commit that the code is from: the provenance of a version that is trained here names it.
ARG COMMIT
COPY --from=project /app/project /app/project
ENV PUZZLENET_COMMIT=${COMMIT}
ENV PATH=/app/project/bin:/app/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app/project PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["puzzlenet"]

# ---- drift: the drift worker, with alibi-detect (Business Source License 1.1) and what that needs besides
FROM model-packages AS drift
ARG PYTHON_INDEX
COPY --from=tools /src/drift.txt /app/requirements/
# In a folder of its own: an installation into the environment would compile all of it again, torch included.
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/install --no-deps --require-hashes --target /app/drift -r /app/requirements/drift.txt
COPY --from=project /app/project /app/project
ENV PATH=/app/project/bin:/app/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app/project:/app/drift PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
WORKDIR /tmp
EXPOSE 8092
ENTRYPOINT ["puzzle-drift"]

# ---- storage-initializer: what KServe runs before a predictor to fetch its model
FROM ${BASE_IMAGE} AS storage-initializer
ARG PYTHON_INDEX
COPY --from=tools /src/storage.txt /app/requirements.txt
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/install --require-hashes -r /app/requirements.txt
COPY tests/cluster/storage_initializer.py /app/storage_initializer.py
ENV PATH=/app/.venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["python", "/app/storage_initializer.py"]
