"""Strongroom: a private document-analysis appliance."""

__version__ = "0.1.0"
