# The image of every process of tapedeck: `docker build --target core -t tapedeck:core .`
# Targets: core, and ml with the engines finbert and onnx (gigabytes). EXTRAS adds others: frames reads market
# files, reddit reads posts. Pin the base by digest with --build-arg PYTHON=TAG@sha256:...
ARG PYTHON=3.12.11-slim-bookworm

FROM python:${PYTHON} AS build
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv --without-pip /opt/tapedeck
COPY pyproject.toml constraints.txt ./
# Dependencies first: a change of our code installs none of them again.
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
      > requirements.txt \
 && pip --python /opt/tapedeck/bin/python install --constraint constraints.txt --requirement requirements.txt
COPY . .
RUN pip --python /opt/tapedeck/bin/python install --constraint constraints.txt ".${EXTRAS:+[$EXTRAS]}" \
 && /opt/tapedeck/bin/python deploy/strip.py

FROM build AS build-ml
RUN pip --python /opt/tapedeck/bin/python install --constraint constraints.txt ".[ml]" \
 && /opt/tapedeck/bin/python deploy/strip.py

FROM python:${PYTHON} AS base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tapedeck" \
      org.opencontainers.image.description="Turns a market tape into orders on Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Group 0 may write, so that another uid can be chosen without another image.
RUN useradd --uid 10001 --gid 0 --no-create-home --home-dir /var/lib/tapedeck --shell /usr/sbin/nologin tape \
 && install -d -o 10001 -g 0 -m 0770 /var/lib/tapedeck /var/cache/tapedeck
ENV PATH=/opt/tapedeck/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/tapedeck \
    TMPDIR=/var/tmp \
    TAPE_HOME=/var/lib/tapedeck \
    TAPE_CACHE=/var/cache/tapedeck \
    TAPE_HEALTH_HOST=0.0.0.0 \
    TAPE_HEALTH_PORT=9464
WORKDIR /var/lib/tapedeck
# State, and compiled kernels: they depend on the processor, so they are compiled where they run, once per volume.
# The root may be read-only with these two and a tmpfs at /var/tmp.
VOLUME ["/var/lib/tapedeck", "/var/cache/tapedeck"]
USER 10001:0
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=180s --retries=4 CMD ["tape", "health"]
ENTRYPOINT ["tape"]
CMD ["--help"]

FROM base AS ml
COPY --from=build-ml /opt/tapedeck /opt/tapedeck

FROM base AS core
COPY --from=build /opt/tapedeck /opt/tapedeck
