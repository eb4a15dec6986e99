"""What a PDF page draws, object by object: looked through once, for all that ask about it.

Calls of PDFium made here take addresses and keep the interpreter's lock, because each returns at once; making ctypes
objects for them cost more than PDFium's own work.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from itertools import repeat
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw

from ingest.parse.build import Boxes
from ingest.parse.geometry import to_display

_MOST = 20_000  # objects of a page that are looked at: plans and maps draw a hundred thousand
_DEEPEST = 2  # forms within forms that are entered


def quick(name: str, result: type, *arguments: type) -> Callable[..., Any]:
    """A function of PDFium by name, for calls that return at once."""
    address = ctypes.cast(getattr(raw, name), ctypes.c_void_p).value or 0
    return ctypes.PYFUNCTYPE(result, *arguments)(address)


P, I = ctypes.c_void_p, ctypes.c_int  # noqa: E741
_type_of = quick("FPDFPageObj_GetType", I, P)
_page_object = quick("FPDFPage_GetObject", P, P, I)
_form_object = quick("FPDFFormObj_GetObject", P, P, ctypes.c_ulong)
_form_count = quick("FPDFFormObj_CountObjects", I, P)
_bounds_of = quick("FPDFPageObj_GetBounds", I, P, P, P, P, P)


class Drawn:
    """Handles of the page's objects by kind, in the order in which they are drawn, forms entered. Dies with the page.

    `whole` is false where there is more than was looked through.
    """

    def __init__(self, page: pdfium.PdfPage) -> None:
        self._page = page
        self._handles: list[int] = []
        self._kinds: list[int] = []
        self.whole = True
        handle = ctypes.cast(page.raw, ctypes.c_void_p).value
        self._walk(handle, raw.FPDFPage_CountObjects(page), _page_object, 0)

    def _walk(self, holder: int | None, count: int, get: Callable[..., Any], depth: int) -> None:
        left = _MOST - len(self._handles)
        if count > left:
            self.whole, count = False, left
        items = list(map(get, repeat(holder), range(count)))
        kinds = list(map(_type_of, items))
        if raw.FPDF_PAGEOBJ_FORM not in kinds:
            self._handles += items
            self._kinds += kinds
            return
        for item, kind in zip(items, kinds, strict=True):
            self._handles.append(item)
            self._kinds.append(kind)
            if kind != raw.FPDF_PAGEOBJ_FORM:
                continue
            if depth < _DEEPEST:
                self._walk(item, _form_count(item), _form_object, depth + 1)
            else:
                self.whole = False

    def of(self, kind: int) -> list[int]:
        """The objects of a kind, which is one of PDFium's `FPDF_PAGEOBJ_…`."""
        if kind not in self._kinds:
            return []
        return [item for item, is_of in zip(self._handles, self._kinds, strict=True) if is_of == kind]

    def pictures(self) -> Boxes:
        """Boxes of the pictures, as displayed; NaN for those outside the page."""
        found = bounds_of(self.of(raw.FPDF_PAGEOBJ_IMAGE))
        return to_display(self._page, found) if len(found) else found


def bounds_of(items: list[int]) -> Boxes:
    """Left, bottom, right and top of objects in PDF user space; NaN where PDFium tells none."""
    sides = np.zeros((len(items), 4), dtype=np.float32)
    first, size = sides.ctypes.data, sides.itemsize
    places = [range(first + i * size, first + i * size + sides.nbytes, 4 * size) for i in range(4)]
    sides[~np.array(list(map(_bounds_of, items, *places)), dtype=bool)] = np.nan
    low, high = np.minimum(sides[:, :2], sides[:, 2:]), np.maximum(sides[:, :2], sides[:, 2:])
    return np.concatenate((low, high), axis=1)
