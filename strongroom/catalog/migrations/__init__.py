"""Alembic environment and versions of the catalogue's schema."""
