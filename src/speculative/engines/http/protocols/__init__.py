"""Requests and answers of model servers: one file for each kind of server."""
