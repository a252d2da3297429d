"""TF Serving: a servable with its version and warmup requests."""

NAME = "serving"
