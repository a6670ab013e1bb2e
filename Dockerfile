# One image for the operator, its command line and every connector run.
# BASE needs Python 3.11 or later; BUILDER the same Python and its venv module.
ARG BASE=docker.io/library/python:3.13-slim
ARG BUILDER=${BASE}

FROM ${BUILDER} AS dependencies
# The path of a pip configuration that is mounted during the build, where the package index is reached by a mirror.
ARG PIP_CONFIG_FILE
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY hack/images/build.lock requirements.lock ./
RUN python3 -m venv /build/tools \
 && python3 -m venv --without-pip /opt/towline \
 && tools/bin/pip install --quiet --require-hashes --only-binary=:all: -r build.lock \
 && tools/bin/pip --python /opt/towline/bin/python install --quiet --require-hashes --only-binary=:all: --no-compile \
      -r requirements.lock \
 && /opt/towline/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/towline/lib

# A stage of its own, so that a change of the source makes a small layer anew and leaves the dependencies' alone.
FROM dependencies AS project
COPY pyproject.toml README.md ./
COPY operator operator
COPY connectors connectors
RUN tools/bin/pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir wheels . \
 && tools/bin/pip --python /opt/towline/bin/python install --quiet --no-deps --no-index --no-compile --no-warn-script-location \
      --root /project wheels/*.whl \
 && /opt/towline/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /project -p / /project/opt/towline/lib

FROM ${BASE} AS slim
COPY hack/images/slim.py /build/
RUN python3 /build/slim.py /build/root

FROM scratch
COPY --from=slim /build/root /
# Byte code is there already, and the root file system is read-only in a pod. Looking for plugins of pydantic, of which
# there are none, would take a twentieth of a sync's start. When a counter was made is asked by
# nobody, and would be a second series for each.
ENV PATH=/opt/towline/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp PYDANTIC_DISABLE_PLUGINS=__all__ \
    PROMETHEUS_DISABLE_CREATED_SERIES=true
COPY --from=dependencies /opt/towline /opt/towline
COPY --from=project /project/opt/towline /opt/towline
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["towline"]
# Last, since they differ from commit to commit.
ARG VERSION=""
ARG REVISION=""
ENV TOWLINE_REVISION=${REVISION}
LABEL org.opencontainers.image.title="Towline" \
      org.opencontainers.image.description="Connects a company's security and IT systems from inside its Kubernetes cluster" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
