"""One driver for each kind of kernel object."""
