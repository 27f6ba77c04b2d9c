"""Statistics and costs of graded chains."""
