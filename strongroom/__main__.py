"""Entry point: opt-out switches first, then the command, then one mapping from errors to exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from strongroom import airgap


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    airgap.prepare_environment()
    airgap.enforce()
    from strongroom.cli.run import run

    return run(list(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
