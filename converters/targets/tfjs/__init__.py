"""tensorflow.js: graph models and layers models, for browsers and Node."""

NAME = "tfjs"
