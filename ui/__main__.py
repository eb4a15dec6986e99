"""`python -m ui --data-dir DIR`: the UI as a process of its own, beside the server of that data directory.

The token never appears on a command line; it is read from the data directory's `run/server.json`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from urllib.parse import urlsplit

from strongroom import airgap


def main(arguments: list[str] | None = None) -> int:
    """Run the UI until it is stopped; returns the exit code."""
    airgap.prepare_environment()
    from strongroom.client.server_info import read_server_info
    from strongroom.errors import ExitCode, StrongroomError

    parser = argparse.ArgumentParser(prog="python -m ui", description="Serve the Strongroom UI.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8601)
    parser.add_argument("--allow-remote", action="store_true")
    parser.add_argument("--public-host", action="append", default=[], metavar="NAME")
    parser.add_argument("--proxy", action="append", default=[], metavar="ADDRESS", help="speaks for many people")
    parser.add_argument("--secure-cookie", action="store_true", help="behind a TLS proxy")
    parser.add_argument("--tls-certificate", type=Path, help="PEM, with its chain")
    parser.add_argument("--tls-key", type=Path)
    options = parser.parse_args(arguments)
    airgap.enforce(log=options.data_dir / "egress.log")
    try:
        info = read_server_info(options.data_dir)
        if info is None:
            raise StrongroomError(f"no server runs for {options.data_dir}", hint="Start it with `strongroom up`.")
        # The server may listen on another address of this machine than loopback.
        airgap.enforce(listening=[urlsplit(info.url).hostname or ""], log=options.data_dir / "egress.log")
        from strongroom.tls import configured
        from ui.serve import run

        run(
            server_url=info.url,
            token=info.token,
            host=options.host,
            port=options.port,
            allow_remote=options.allow_remote,
            public_hosts=frozenset(options.public_host),
            secure=options.secure_cookie,
            proxies=options.proxy,
            certificate=info.certificate,
            tls=configured(options.tls_certificate, options.tls_key),
        )
    except StrongroomError as exc:
        sys.stderr.write(f"{exc}\n{exc.hint}\n")
        return int(exc.exit_code)
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
