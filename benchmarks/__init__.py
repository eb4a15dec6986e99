"""Figures of the product beside an alternative, measured in one run on one machine. Never part of the tests."""
