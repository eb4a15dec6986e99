"""Files to chunks: discover, parse in sandboxed children, cut, and the pipeline that carries them to the index."""
