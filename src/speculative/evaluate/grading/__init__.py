"""Grades answers."""
