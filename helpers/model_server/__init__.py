"""A drop-in for `tensorflow_model_server`, in Python: `python -m helpers.model_server --help`.

It takes the original's flags, reads its files, and speaks its gRPC and REST APIs with its codes,
messages and metrics. Read it in this order:

    flags       what the command line says; config: the text files that flags name
    status      an error that becomes a gRPC or an HTTP status
    tensors     TensorProto to numpy and back
    servable    one version of one model, loaded: arrays in, arrays out; tflite: the same for TFLite
    outcomes    what a request waits for, and which thread goes on with it
    batching    requests of all connections become batches
    loading     from a directory to a model with its queues
    sources     which versions should be served; version: one of them, and its states
    lifecycle   how a version comes and goes; memory: what is freed goes back to the system
    models      which versions there are, and which are wanted
    warmup      requests recorded with a model, run before it serves
    inference   Predict, Classify, Regress, MultiInference, metadata and status, with
                named_tensors and examples
    grpc_api    ... over gRPC; direct: its calls without a thread or a task each
    rest_api    ... over HTTP. rapidjson reads a body; json_values, json_tensors and json_examples
                make a request of it, json_answers writes the answer
    profiler    what TensorFlow was doing, for TensorBoard
    metrics     what happened, under the original's names
    listening   ports, socket and certificates, looked at before anything is loaded
    server      start, serve, drain, stop

It imports nothing else of `helpers`.
"""
