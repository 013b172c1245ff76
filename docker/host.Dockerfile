# edgecc with every backend of this machine:
#   docker build -f docker/host.Dockerfile -t edgecc .
#   docker run --rm -v "$PWD":/work edgecc build model.onnx --target host
FROM python:3.11-slim-bookworm
COPY . /src
RUN pip install --no-cache-dir "/src[arm]" && rm -rf /src
RUN useradd --create-home edgecc
USER edgecc
WORKDIR /work
ENTRYPOINT ["edgecc"]
