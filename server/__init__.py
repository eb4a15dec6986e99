"""The appliance's HTTP server: the native API over one engine that owns the models and the index."""
