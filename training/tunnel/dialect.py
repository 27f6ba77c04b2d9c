"""The fixed texts of the pair: prompts, cues, tags. Methods use them word for word (`training/README.md` lists them)."""

from __future__ import annotations

USER = "<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n<think>\n"
CLOSE = "</think>\n\nThe answer is \\boxed{"
END = "}.<|im_end|>"
CONCLUSION = "So the answer is {value}.\n\n"
CHECK = "Check:"
SCORE = "Score: "
RIGHT, WRONG = "9", "0"
WAIT = "Wait"
FIX = ", "  # behind `Wait`: the step before, once more
AGAIN = ", let me go through it again.\n\n"
HINTS = ("Hint 1:", "Hint 2:", "Hint 3:")  # short, medium, long
REWRITE = "{problem}\n\nReasoning so far:\n\n{chain}\n\nRewrite the reasoning, shorter."
QUESTION = " End with a question."
ASKED_BACK = "Is {value} right?\n\n"

MARK, UNMARK, CALL, UNCALL, HANDOFF, ADVICE = TAGS = ("<bigmodel>\n", "</bigmodel>\n", "<call>", "</call>\n", "<handoff>\n", "<advice>\n")
INSTRUCTIONS = {
    "offload": "Mark the hard steps.",
    "relay": "Call for help.",
    "handoff": "Hand off what is too hard.",
    "advisor": "Ask for advice.",
}
"""The line behind the problem that tells the asking model its way of asking."""


def prompt(text: str) -> str:
    """A user's message as the chat template writes it, up to where the thinking begins."""
    return USER.format(text=text)


def instructed(problem: str, method: str) -> str:
    """A problem with the asking model's instruction."""
    return f"{problem}\n{INSTRUCTIONS[method]}"
