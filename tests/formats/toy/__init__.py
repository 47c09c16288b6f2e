"""A format that nobody uses: `TOY1`, a line of JSON with names and shapes, float32 values behind it."""
