"""The shell: whatever touches clock, files, sockets and signals; it wires the other two."""
