"""The embedded model server: TensorFlow Serving's answers from a Python process.

`python -m serving --model_base_path=DIR` serves the newest version folder under
DIR over gRPC (`--model_config_file=FILE`: several models), with the services,
messages and error codes of `tensorflow_model_server`, so that a client cannot
tell which of the two it talks to. In a program:

    from serving.config import ServerConfig
    from serving.server import ModelServer

    with ModelServer(ServerConfig(model_base_path=path, port=0)) as server:
        print(server.port)

Nothing here imports TensorFlow until a server starts: a mistake in a flag, a
taken port or a missing model is reported in a fraction of a second.

The modules, from the outside in: `__main__` and `flags` (the command line),
`config`, `server` (life of the process: start, drain, stop) with `listen`, `tls`
and `config_poll`, `services` (the gRPC surface), `models` (which model a request
means) with `model_config`, `manager` (which versions are loaded) with `policies`,
`inference` (a request becomes a response), `loader` (one SavedModel in a Session)
with `loading` and `warmup`, `limits` (what waits for what), `tensors` (TensorProto
to numpy and back), `textproto`, `errors`.
"""
