"""Homeport: the OpenAI REST API at home."""

__version__ = "0.1.0"
