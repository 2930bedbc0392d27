"""A florist's order service: FastAPI in front, Tasker behind."""
