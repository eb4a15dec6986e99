"""Convert one document with LibreOffice's own library interface. Run as a program of its own, never imported.

    python lokit.py PROGRAM_FOLDER PROFILE_URL SOURCE_URL TARGET_URL FORMAT

`soffice --convert-to` opens a socket below /tmp, wherever its temporary folder is, and ends when it cannot: which is so
in a child that may write nowhere else. LibreOfficeKit opens none. Its tables of functions only ever grow at their end
(include/LibreOfficeKit/LibreOfficeKit.h), so the places used here hold for every version. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

_LOAD, _SAVE_AS = 2, 2  # places in the tables of the office and of a document, counted in pointers


def main() -> int:
    """Returns 0 when the target was written."""
    program, profile, source, target, kind = sys.argv[1:]
    names = ("libmergedlo.so", "libsofficeapp.so")
    library = next((path for name in names if (path := Path(program, name)).exists()), None)
    if library is None:
        return 2
    os.environ["UNO_SHARED_PACKAGES_CACHE"] = f"{profile}/shared"  # the installation's own lies in /var, closed to us
    hook = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL).libreofficekit_hook_2
    hook.restype, hook.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
    office = hook(program.encode(), profile.encode())
    if not office:
        return 3
    document = _call(office, _LOAD, ctypes.c_void_p, source)
    if not document:
        return 4
    return 0 if _call(document, _SAVE_AS, ctypes.c_int, target, kind, None) else 5


def _call(thing: int, place: int, result: Any, *texts: str | None) -> Any:
    """Call a function from the table that a LibreOfficeKit object begins with."""
    pointers = ctypes.POINTER(ctypes.c_void_p)
    table = ctypes.cast(thing, pointers)[0]
    function = ctypes.cast(table, pointers)[place]
    prototype = ctypes.CFUNCTYPE(result, ctypes.c_void_p, *[ctypes.c_char_p] * len(texts))
    return prototype(function)(thing, *[None if text is None else text.encode() for text in texts])


if __name__ == "__main__":
    os._exit(main())  # without its own farewell, which waits for threads
