"""The names of the commands, and what each does."""

COMMANDS = {
    "ask": "Let the pair write one chain of thought, and its answer, for a problem.",
    "methods": "List the methods and wrappers, or describe one with its parameters.",
    "problems": "List the bundled problems.",
    "show": "Draw a saved trace again.",
    "compare": "Run methods on the bundled problems, and compare accuracy, tokens and seconds.",
    "eval": "Run methods on benchmarks, kept sample by sample; go on after an interruption.",
    "report": "Write one page with the methods, problems and chains of run folders; also tables and figures.",
    "plot": "Draw what `compare --json` printed: accuracy against the share that the big model wrote.",
    "export-inspect": "Write a run folder as log files of inspect-ai, for its viewer.",
    "lm-eval": "Run the lm-evaluation-harness with chains of the pair; all that follows is its own, --help too.",
    "doctor": "Look at the engines: reachable, version, model, template, context, abilities, and what to change.",
    "serve": "Serve the pair over HTTP, in the words of the OpenAI API.",
    "up": "Start servers for a pair of models and hold them open.",
    "down": "End the servers that `speculative up` holds open.",
    "completion": "Print the completion script of a shell.",
}

MODULES = {"down": "up"}
"""The module of a command that has no file of its own."""
