"""The one place of the version."""

VERSION = "0.2.0"
