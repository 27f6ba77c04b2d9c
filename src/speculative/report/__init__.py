"""Shows chains and comparisons, on a terminal, as tables, pictures and pages."""
