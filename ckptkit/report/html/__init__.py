"""Results as one self-contained HTML file each: no network, no storage, nothing run but a small script of its own.

Python makes the data of a page (`document` and a module for each command), the templates only write it down. Names from
files are data here as everywhere: see `render`.
"""
