"""The SavedModel itself, which every other target is made from."""

NAME = "saved_model"
