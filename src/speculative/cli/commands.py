"""The names of the commands, with a description of each."""

COMMANDS = {
    "ask": "Let the pair write one chain of thought, and its answer, for a problem.",
    "methods": "List the methods and wrappers, describe one, or advise on one for a need.",
    "profile": "Measure a pair of live servers for `speculative plan`.",
    "plan": "Predict methods at several loads: latency, tokens a second, GPU time, money.",
    "field": "Run pairs, limits, tasks and methods as one table, after saying what it costs.",
    "replay-load": "Replay traces as a load on servers with the OpenAI API.",
    "problems": "List the bundled problems.",
    "show": "Draw a saved trace again.",
    "compare": "Run methods on the bundled problems, and compare accuracy, tokens and seconds.",
    "eval": "Run methods on benchmarks; the same command continues an interrupted run.",
    "tune": "Choose the parameters of a method on problems, and write them into a preset.",
    "report": "Write one page with the methods, problems and chains of run folders; also tables and figures.",
    "plot": "Draw the output of `compare --json`: accuracy against cost.",
    "export-inspect": "Write a run folder as log files of inspect-ai, for its viewer.",
    "lm-eval": "Run the lm-evaluation-harness with chains of the pair; it reads all that follows, also --help.",
    "doctor": "Check the engines: reachability, version, model, template, context and abilities.",
    "serve": "Serve the pair over HTTP with the OpenAI API.",
    "up": "Start servers for a pair of models and keep them running.",
    "down": "Stop the servers of `speculative up`.",
    "completion": "Print the completion script of a shell.",
}

MODULES = {"down": "up"}
"""The module of a command that has no file of its own."""
