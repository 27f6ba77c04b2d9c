"""Chooses the parameters of a method on problems."""
