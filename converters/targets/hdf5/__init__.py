"""HDF5: a Keras model's file, or the variables of any other."""

NAME = "hdf5"
