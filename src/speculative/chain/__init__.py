"""The chain: the verbs of a method and their parts."""
