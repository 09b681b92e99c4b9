"""HTML pages: one file each, nothing fetched, nothing run."""
