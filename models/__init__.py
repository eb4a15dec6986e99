"""Models: what can be installed, what is, and the adapters that run them. Importing this package loads nothing."""
