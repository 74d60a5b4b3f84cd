"""The pure calculation graph: datastore values in, minimal updates out."""
