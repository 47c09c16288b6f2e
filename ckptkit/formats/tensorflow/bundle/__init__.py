"""TensorFlow's V2 checkpoints, tensor bundles: `x.index`, `x.data-00000-of-00001` and so on.

Both kinds have this container: name-based ones of `tf.compat.v1.train.Saver` and object-based ones of
`tf.train.Checkpoint`, which also hold an object graph.
"""
