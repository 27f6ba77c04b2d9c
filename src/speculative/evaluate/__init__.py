"""Problems, grading, and methods compared on them. Reads traces."""
