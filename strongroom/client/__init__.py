"""The appliance over HTTP: the `Engine` and `AccountDesk` Protocols spoken to a running server.

Nothing here knows how files are parsed or models run. Proxies of the environment are never used: no request may leave
the machines that the caller named.
"""
