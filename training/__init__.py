"""How the bundled models are made, from nothing (see README.md)."""
