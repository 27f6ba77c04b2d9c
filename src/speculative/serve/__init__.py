"""The service: the OpenAI API in front of two models that write one chain.

A request goes through `app.py` (routes), `body.py` and `schemas.py` (its fields), `request.py` (its problems and method), `completion.py`
and `chains.py` (its chains), `streaming.py` (text that is final) and the writers of replies.
"""
