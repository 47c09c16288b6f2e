"""Results as people and programs see them: terminal pages and versioned JSON. Nothing here computes a result."""
