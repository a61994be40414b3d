# The model alone, for components/model-volume: an init container copies it to where the server looks.
#
#   docker build --file serving/model.Dockerfile --tag inception-model:1 build/models

# Anything that has `cp`.
ARG COPY_IMAGE=busybox:1.37
FROM ${COPY_IMAGE}
LABEL org.opencontainers.image.title="inception-model" \
      org.opencontainers.image.licenses="Apache-2.0"
# With the version's directory, as in serving/Dockerfile.
ARG VERSION=1
COPY inception/${VERSION} /model/${VERSION}
USER 65532:65532
