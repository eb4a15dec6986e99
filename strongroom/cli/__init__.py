"""The command line: parses, prints, and calls an `Engine`. stdout is data, stderr is progress.

Imports at module level stay light (typer and the standard library), so that `--help` answers at once.
"""
