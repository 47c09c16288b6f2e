"""TensorFlow's V1 checkpoints."""
