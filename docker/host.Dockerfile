# edgecc on a PC, for this machine, for ARM and for Jetson:
#   docker build -f docker/host.Dockerfile -t edgecc .
#   docker run --rm -v "$PWD":/work -u "$(id -u)" edgecc build model.onnx --target host
FROM python:3.11.9-slim-bookworm
COPY pyproject.toml README.md LICENSE docker/constraints.txt /src/
COPY edgecc /src/edgecc
COPY passes /src/passes
COPY targets /src/targets
RUN pip install --no-cache-dir -c /src/constraints.txt "/src[arm]"
RUN useradd --create-home edgecc
USER edgecc
WORKDIR /work
ENTRYPOINT ["edgecc"]
