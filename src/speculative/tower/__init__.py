"""Towers: a pair with a method, used as an engine."""

from speculative.tower.engine import TowerEngine

__all__ = ["TowerEngine"]
