"""What a trace looks like: drawn on a terminal, as tables, as JSON. Reads traces and nothing else."""
