"""What runs models in Node and in a headless Chromium, for the targets that are deployed there."""
