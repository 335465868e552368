# docker build -t spp . && docker run --rm -v "$PWD:/data" spp propose images/
FROM python:3.12-slim

# OpenCV's window functions, which are never called, link to these.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

# torch's CPU build: 0.2 GB in place of the 3 GB of the build with CUDA libraries.
COPY . /src
RUN pip install --no-cache-dir uv==0.13.9 \
    && uv pip install --system --no-cache --torch-backend=cpu /src \
    && rm -rf /src

RUN useradd --create-home --uid 1000 spp
USER 1000
WORKDIR /data
ENTRYPOINT ["spp"]
