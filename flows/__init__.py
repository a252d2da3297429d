"""Prefect's side: thin tasks over `converters`, the flows, and the command line."""
