# The embedded server (helpers/model_server) in an image that stands in for tensorflow/serving: the same ports,
# environment variables, programs and entry point, on x86 and ARM.
#
#   docker build --file serving/model-server.Dockerfile --tag inception-model-server:1 .
#   docker build --file serving/Dockerfile --build-arg SERVING_IMAGE=inception-model-server:1 --tag inception-serving:1 build/models

ARG PYTHON_IMAGE=python:3.12-slim-bookworm
# The stage that holds /packages, or an image that has them already (where a build has no network).
ARG PACKAGES=install

FROM ${PYTHON_IMAGE} AS install
# What the server needs and nothing else: a part of requirements.lock, with its hashes (`make lock` writes both).
COPY serving/model-server.lock /
# The headers for C++ and the compiler's library are a quarter of it, and nobody compiles here. Byte code is made now,
# since the container's file system is read-only: without it TensorFlow takes three times as long to import. Only that
# step may fail, for a file or two of a package that no Python 3 can read.
RUN python3 -m pip install --no-cache-dir --no-deps --require-hashes --target /packages --requirement /model-server.lock \
    && rm -rf /packages/tensorflow/include /packages/clang \
    && { python3 -m compileall -q /packages || true; }

FROM ${PACKAGES} AS packages

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="inception-model-server" \
      org.opencontainers.image.description="A stand-in for tensorflow_model_server, in Python" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=packages /packages /opt/packages
COPY serving/tensorflow_model_server serving/tf_serving_entrypoint.sh /usr/bin/
COPY helpers/__init__.py helpers/proxies.py /opt/tutorial/helpers/
COPY helpers/model_server /opt/tutorial/helpers/model_server
RUN python3 -m compileall -q /opt/tutorial && mkdir /models
ENV PYTHONPATH=/opt/tutorial:/opt/packages PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    MODEL_BASE_PATH=/models MODEL_NAME=model
EXPOSE 8500 8501
ENTRYPOINT ["/usr/bin/tf_serving_entrypoint.sh"]
