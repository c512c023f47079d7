"""Two local servers: ``review``, a page to accept, correct and reject annotations, and ``serve``, a model over HTTP.

Importing this package loads nothing.
"""
