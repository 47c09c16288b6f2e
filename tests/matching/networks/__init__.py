"""Random pairs of files that hold the weights of one network, written by different frameworks, styles and people.

Both files of a pair hold the same values for the same logical layer, so that the truth is known by construction.
"""
