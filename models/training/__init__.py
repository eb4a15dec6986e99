"""How the reader is made. Imported by nothing at run time: only `python -m models.training` and its tests use it."""
