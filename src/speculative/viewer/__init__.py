"""The page that shows chains and reports in a browser."""
