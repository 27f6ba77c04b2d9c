"""Compatibility with the SplitReason library."""
