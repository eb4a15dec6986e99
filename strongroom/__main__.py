"""Entry point: opt-out switches first, then the command, then one mapping from errors to exit codes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from strongroom import airgap


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what is half done is closed in order
    airgap.prepare_environment()
    airgap.enforce()
    from strongroom.cli.run import run

    return run(list(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
