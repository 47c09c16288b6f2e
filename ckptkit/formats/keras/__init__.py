"""Keras's containers: legacy HDF5, `.weights.h5`, `.keras`, sharded weights; and HDF5 of any other layout."""
