"""The processes that carry commands out."""
