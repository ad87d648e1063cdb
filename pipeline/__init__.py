"""The pipeline: its configuration, its graph, the runner, and the command line."""
