"""TensorFlow's containers: bundles, V1 checkpoints, SavedModels."""
