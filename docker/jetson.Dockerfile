# Builds and measures a bundle's engine on a Jetson with JetPack 5.1 (TensorRT 8.5.2), without
# installing anything there. From inside the bundle, on the board; trtexec is the board's own, and the
# engines that are built stay in a volume:
#   docker build -f docker/jetson.Dockerfile -t edgecc-jetson .
#   docker run --rm --runtime nvidia -v "$PWD":/bundle -v edgecc-engines:/home/edgecc/.cache \
#     -v /usr/src/tensorrt:/usr/src/tensorrt:ro edgecc-jetson build
# Clocks and power modes are root's on the board itself, so a measurement here pins nothing.
FROM nvcr.io/nvidia/l4t-tensorrt:r8.5.2-runtime
RUN apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --groups video edgecc && install -d -o edgecc /home/edgecc/.cache
USER edgecc
WORKDIR /bundle
ENTRYPOINT ["python3", "edgecc-device"]
