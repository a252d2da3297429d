"""TF Lite: files for phones and small devices."""

NAME = "tflite"
