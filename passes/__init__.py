"""Graph rewrites, one a file, in three rooms: prepare, decompose, legalise."""
