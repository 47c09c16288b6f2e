"""HDF5 files, read from their bytes and written by the HDF5 library."""
