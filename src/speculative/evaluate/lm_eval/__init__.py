"""Runs our chains under the lm-evaluation-harness, which is neither patched nor copied.

Importing `model` registers the models. `task_files` holds the tasks. Only `model` needs the package lm-eval.
"""
