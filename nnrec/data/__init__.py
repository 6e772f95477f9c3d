"""From raw tables and event logs to what a model takes: reading, cleaning, features, splits."""

from nnrec.data.tables import Table

__all__ = ["Table"]
