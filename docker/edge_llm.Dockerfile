# TensorRT Edge-LLM's server for Jetson Thor and Orin with JetPack 7. Not yet run on hardware.
# NVIDIA has no image of it. Its wheel takes the CUDA 13 and TensorRT 10 that it finds:
# JetPack 7.2 (CUDA 13.2) goes with 26.05, JetPack 7.0 and 7.1 (CUDA 13.0) with
# --build-arg TENSORRT=25.08. Releases from 26.07 have TensorRT 11, which it can't use.
ARG TENSORRT=26.05
FROM nvcr.io/nvidia/tensorrt:${TENSORRT}-py3
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
# As the board's profile has it; it sees the TensorRT of the image.
RUN python3 -m venv --system-site-packages /opt/edgellm \
    && /opt/edgellm/bin/pip install --no-cache-dir "tensorrt-edgellm[server]==0.11.0"
RUN useradd --uid 10001 --create-home nemotron \
    && mkdir /models /cache \
    && chown nemotron /models /cache
ENV HF_HUB_OFFLINE=1 \
    XDG_CACHE_HOME=/cache \
    PYTHONDONTWRITEBYTECODE=1
USER nemotron
STOPSIGNAL SIGINT
