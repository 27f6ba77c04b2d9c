"""Engines on vLLM servers that this library starts."""
