"""The catalogue: documents, versions, pages, chunks, grants, audit; the truth that the index follows."""

from strongroom.catalog.catalog import Catalog
from strongroom.catalog.records import Begun, Collection, Existing, PointSource, Twin
from strongroom.catalog.store import Store

__all__ = ["Begun", "Catalog", "Collection", "Existing", "PointSource", "Store", "Twin"]
