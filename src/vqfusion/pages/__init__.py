"""HTML pages, all in one look."""
