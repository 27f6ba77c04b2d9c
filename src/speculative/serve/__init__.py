"""The service: an OpenAI-compatible door for "two models, one chain" (docs/serving.md).

`app.py` has the routes; `asked.py` what may be asked, `jobs.py` what that becomes, `reply.py` runs it; `feed.py` says what text is final.
"""
