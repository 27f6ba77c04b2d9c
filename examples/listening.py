"""Follows a chain while it is written: its text, and its rejected or rewound drafts."""

from speculative import solve
from speculative.trace.events import AnyEvent, Rejected, Rewound, TextDelta

PROBLEM = "Begin at 47 and go up by 7. What is the first number that leaves 0 when divided by 5?"


def listen(happened: AnyEvent | TextDelta) -> None:
    """Prints committed text at once, and a line for discarded text."""
    if isinstance(happened, TextDelta):
        if happened.committed and not happened.chain:  # () is the chain itself, (0,) its first child
            print(happened.text, end="", flush=True)
    elif isinstance(happened, Rejected | Rewound):
        print(f"\n[{type(happened).__name__.lower()} after {happened.at:.2f} s]")


if __name__ == "__main__":
    result = solve(PROBLEM, "random_switch", seed=2, listener=listen)
    print(f"\n{result.finish_reason}, {len(result.trace.events)} events")
