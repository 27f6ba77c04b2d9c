"""The page that shows chains and reports in a browser: its modules, its style and its data."""
