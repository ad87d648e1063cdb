"""Evaluator: a model is blessed for its held-out nats, or not at all."""
