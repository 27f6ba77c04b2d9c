# The service. Written against the published documentation of Docker; it has not been built or run by us yet.
#   docker build -t speculative .
#   docker run -p 127.0.0.1:8080:8080 -e SPECULATIVE_API_KEY=choose-a-key speculative
FROM python:3.13-slim

RUN useradd --create-home speculative
WORKDIR /home/speculative
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir -c constraints.txt . && rm -rf src

USER speculative
EXPOSE 8080
# A container is reached from outside itself, so it refuses to start without a key (or --no-auth).
ENV SPECULATIVE_HOST=0.0.0.0 SPECULATIVE_PORT=8080
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health', timeout=3)"]
# Docker sends SIGTERM and waits for `stop_grace_period`: it has to be longer than --drain.
ENTRYPOINT ["speculative", "serve"]
