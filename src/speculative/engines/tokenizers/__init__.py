"""Tokenizers read from a model's own files."""
