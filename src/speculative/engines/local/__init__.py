"""The bundled engine: models run in this process by ONNX Runtime. Nothing heavy is imported before one is opened."""

from speculative.engines.local.engine import BundledEngine

__all__ = ["BundledEngine"]
