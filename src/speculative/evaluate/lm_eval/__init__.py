"""Runs our chains under the unchanged lm-evaluation-harness.

Importing `model` registers the models. `task_files` holds the tasks. Only `model` needs the package lm-eval.
"""
