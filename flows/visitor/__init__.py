"""`fanout open`: a release in the visitor's own browser."""
