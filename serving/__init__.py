"""The embedded model server: TensorFlow Serving's answers from a Python process.

`python -m serving --model_base_path=DIR` serves the newest version folder under
DIR over gRPC, with the services, messages and error codes of
`tensorflow_model_server`, so that a client cannot tell which of the two it
talks to. In a program:

    from serving.config import ServerConfig
    from serving.server import ModelServer

    with ModelServer(ServerConfig(model_base_path=path, port=0)) as server:
        print(server.port)

Nothing here imports TensorFlow until a server starts: a mistake in a flag, a
taken port or a missing model is reported in a fraction of a second.

The modules, from the outside in: `server` (life of the process: start, drain,
stop), `services` (the gRPC surface), `models` (which model a request means),
`manager` (which versions are loaded), `inference` (a request becomes a
response), `loader` (one SavedModel in a Session), `tensors` (TensorProto to
numpy and back), `warmup`, `errors`, `config`.
"""
