"""Graded chains and the folder that keeps them."""
