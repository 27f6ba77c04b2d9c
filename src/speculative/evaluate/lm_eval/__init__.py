"""The second door: the lm-evaluation-harness with our chains behind it. Nothing of it is patched or copied.

`model.py` is its model, `tasks/` its task files. Importing `model` registers it; only that and `data.py` need the package lm-eval.
"""
