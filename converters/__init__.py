"""Turn one TensorFlow model into checked outputs for every runtime. Knows nothing of Prefect."""
