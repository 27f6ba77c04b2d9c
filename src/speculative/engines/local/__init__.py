"""The bundled engine: a model runs in this process with ONNX Runtime.

Heavy packages are imported when an engine is opened."""

from speculative.engines.local.engine import BundledEngine

__all__ = ["BundledEngine"]
