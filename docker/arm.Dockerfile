# What a bundle needs on an ARM board, where Python or onnxruntime cannot be installed on the board
# itself: Python, numpy and onnxruntime. The bundle brings all else.
#   docker build --platform linux/arm64 -f docker/arm.Dockerfile -t edgecc-arm .
#   docker run --rm -v "$PWD":/bundle edgecc-arm measure
FROM python:3.11.9-slim-bookworm
COPY docker/constraints.txt /tmp/
RUN pip install --no-cache-dir --no-compile --only-binary :all: \
    -c /tmp/constraints.txt numpy onnxruntime
RUN useradd --create-home --groups video edgecc
USER edgecc
WORKDIR /bundle
ENTRYPOINT ["python3", "edgecc-device"]
