"""What a release says of itself to whoever receives it: USAGE.md, a model card, example programs, requests and answers."""
