# xpcnn on an NVIDIA GPU. CUDA's libraries come as wheels with the [cuda13] extra: the host needs only the driver
# (580 or newer) and the NVIDIA Container Toolkit.
#
#     docker build -t xpcnn . && docker run --gpus all xpcnn
#     docker run --gpus all xpcnn --model deep            what follows the image goes to scripts/train.py
#     docker run -e XPCNN_BACKEND=numpy xpcnn             without a GPU
FROM python:3.13-slim

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

RUN useradd --create-home --uid 1000 xpcnn
WORKDIR /home/xpcnn/app

# The dependencies are some gigabytes and change seldom: a layer of their own, which only pyproject.toml renews.
COPY pyproject.toml ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies']['cuda13'], sep='\n')" > /tmp/requirements.txt \
    && pip install --no-cache-dir --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt

COPY README.md LICENSE ./
COPY xpcnn xpcnn
RUN pip install --no-cache-dir --no-deps .
COPY scripts scripts

# The ordinary user owns one folder, for what training leaves, and keeps CuPy's compiled kernels at home.
RUN install --directory --owner xpcnn --group xpcnn runs
USER 1000
ENV XPCNN_BACKEND=cupy
ENTRYPOINT ["python", "scripts/train.py"]
CMD ["--output", "runs/simple"]
