"""Linear models as NumPy's .npz: a target as another package offers it, with nothing in tf-fanout that knows of it."""

NAME = "toy"
