# The development image: one for web, worker and flower. compose mounts the
# source over the copy in here, so that a saved file restarts what runs it.
FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PIP_CACHE_DIR=/var/cache/pip

RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin app \
    && install -d -o app -g app /app/instance
WORKDIR /app

# An editable install needs the package only by name: the layer of the
# dependencies is built again when pyproject.toml changes, not with every edit.
COPY pyproject.toml README.md LICENSE ./
RUN --mount=type=cache,target=/var/cache/pip \
    mkdir signal_tasks && touch signal_tasks/__init__.py \
    && pip install 'pip>=25.1' \
    && pip install --editable '.[flower]' --group demo watchfiles

COPY docker/reload.py docker/
COPY worker.py ./
COPY signal_tasks signal_tasks
COPY examples examples

USER app
EXPOSE 8000 5555
