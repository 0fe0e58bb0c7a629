# The host with the plugins named by PLUGINS, without build tools, for an ordinary user.
#
#   docker build -t surfaces .
#   docker build -t surfaces --build-arg PLUGINS="matrix llm tools files_volume commands_context storage_postgres" .
#
# Its config is filled from the environment (compose/surfaces.yaml); mount another one over it where that is not enough.
ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
ARG PLUGINS="matrix agent_api files_volume commands_context storage_sqlite"
COPY . /src
# Plugins are words of their own.
# hadolint ignore=SC2086
RUN /src/deploy/install /opt/surfaces ${PLUGINS}

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Surfaces" \
      org.opencontainers.image.description="Connects messengers to AI agents" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing is installed here any more, by nobody.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip \
 && groupadd --gid 1000 surfaces \
 && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /data surfaces \
 && install -d -o 1000 -g 1000 -m 0700 /data \
 && install -d -o 1000 -g 1000 -m 0711 /agents \
 && install -d /config
COPY --from=build /opt/surfaces /opt/surfaces
COPY compose/surfaces.yaml /etc/surfaces/surfaces.yaml
ENV PATH=/opt/surfaces/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# The root may be read-only: state goes to /data, files to /agents, temporary things to /tmp.
VOLUME ["/data", "/agents"]
WORKDIR /data
USER 1000:1000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://' + os.environ.get('SURFACES_OPS_LISTEN', '127.0.0.1:9400') + '/readyz', timeout=4)"]
ENTRYPOINT ["surfaces"]
CMD ["run", "-c", "/etc/surfaces/surfaces.yaml"]
