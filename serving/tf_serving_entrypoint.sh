#!/bin/sh
# As in the official image, but for `exec`: SIGTERM reaches the server, which answers what is in flight and ends.
exec tensorflow_model_server --port=8500 --rest_api_port=8501 \
  --model_name="$MODEL_NAME" --model_base_path="$MODEL_BASE_PATH/$MODEL_NAME" "$@"
