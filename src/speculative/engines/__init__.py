"""Engines: what runs a model, each behind the protocol of `base`."""
