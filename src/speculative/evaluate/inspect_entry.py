"""What the entry point of the group `inspect_ai` loads: our model provider, tasks, scorer and reducer."""

from speculative.evaluate.inspect_model import provider
from speculative.evaluate.inspect_tasks import DECLARED, graded, maj, put

__all__ = ["DECLARED", "graded", "maj", "provider", "put"]
