"""OKX, over its REST API v5."""
