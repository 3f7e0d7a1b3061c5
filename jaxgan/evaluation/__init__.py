"""Evaluation: which samples are compared with which data, by which features.

The metrics themselves are in `jaxgan.metrics`. Each kind of data has a file with its `Protocol`; to
add one, write the file and add it to `PROTOCOLS` in `reference.py`.
"""
