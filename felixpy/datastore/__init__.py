"""Datastores: where resources come from."""
