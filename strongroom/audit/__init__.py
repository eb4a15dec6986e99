"""The audit log: an append-only, hash-chained record, its signed checkpoints, and copies for other systems.

`log` holds the chain and its verification, `checkpoint` the signatures that can be kept elsewhere, `forward` the
delivery to a file or a syslog collector, `origin` what a request says of itself.
"""

from strongroom.audit.log import Audit, Entry, KeepCheckpoints
from strongroom.audit.origin import Origin, acting_from, current

__all__ = ["Audit", "Entry", "KeepCheckpoints", "Origin", "acting_from", "current"]
