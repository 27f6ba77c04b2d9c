"""How the bundled pair is made, from nothing, by one command (see README.md)."""
