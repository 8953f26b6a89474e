"""Flows of a search: the driver, who proposes points, who is stopped early, and the two executors."""
