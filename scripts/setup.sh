#!/bin/sh
# Find a Python that the product supports and hand over to scripts/setup.py.
#
#   PYTHON=/path/to/python3.12 scripts/setup.sh [options of scripts/setup.py]
set -eu
cd "$(dirname "$0")/.."

stop() {
    echo "setup: $1" >&2
    echo "  hint: $2" >&2
    exit 1
}

platform="$(uname -s) $(uname -m)"
[ "$platform" = "Linux x86_64" ] || stop "Strongroom runs on Linux x86-64; this is $platform." \
    "The packages it stands on are pinned and tested for that platform alone."

supported='import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) and sys.implementation.name == "cpython" else 1)'
for candidate in ${PYTHON:-.venv/bin/python python3 python3.13 python3.12 python3.11}; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c "$supported" >/dev/null 2>&1; then
        exec "$candidate" scripts/setup.py "$@"
    fi
done
stop "no CPython 3.11, 3.12 or 3.13 found (looked for ${PYTHON:-python3, python3.13, python3.12, python3.11})." \
    "Install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name it: make setup PYTHON=/path/to/python3.12"
