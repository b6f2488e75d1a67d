"""The loop of models and tools: a model answers, its tools are called, it answers again. Runs of assistants and
responses are the same loop, written down by two scribes."""
