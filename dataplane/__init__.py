"""Desired state into the kernel; knows nothing of datastores."""
