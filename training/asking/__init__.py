"""Training of a user's own small model to mark, call, hand off and ask for advice."""
