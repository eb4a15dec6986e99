"""Finding passages and answering from them: vector index, search, context, citations.

Knows `strongroom`'s ports and types only; never imports `ingest` or `models`. Importing this package loads nothing
heavy: engines and LlamaIndex are imported by the modules that use them.
"""
