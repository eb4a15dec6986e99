"""Measuring and fitting: code that needs question sets, never imported by the product's own path."""
