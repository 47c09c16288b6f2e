"""Objects behind URLs, through fsspec: their names, their bytes by ranges, and putting new ones in place.

Imported only when a path is a URL; fsspec itself only when the first of them is looked at.
"""
