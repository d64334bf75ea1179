# fer-tune with CUDA, for one host or for the nodes of a Ray cluster.
#
#     docker build -t fer-tune .
#     docker run --gpus all --init --shm-size 4g --stop-timeout 120 -v fer-tune:/storage fer-tune run resnet
#
# The driver is the host's. PyTorch's wheels bring the CUDA libraries that they need.
ARG CUDA=12.8.1-runtime-ubuntu24.04
FROM nvidia/cuda:${CUDA}

# gcc and Python's headers: Triton compiles the launcher of each kernel at its first use.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home fer \
    && install -d -o fer -g fer /storage \
    && python3 -m venv /opt/fer-tune

ENV PATH=/opt/fer-tune/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FER_TUNE_DIR=/storage

WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY sweeps sweeps
COPY fer_tune fer_tune
RUN pip install --no-cache-dir -c constraints.txt '.[postgres,ray,parquet,onnx]'

# Database, models, checkpoints and caches. A volume keeps them when the container ends.
VOLUME /storage
USER fer
WORKDIR /home/fer
STOPSIGNAL SIGTERM
ENTRYPOINT ["fer-tune"]
CMD ["--help"]
