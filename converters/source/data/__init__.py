"""Data that a user gives, read: a module for each form, and the table of them in `reading`."""
