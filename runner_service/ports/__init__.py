"""Every seam of the server as a Protocol. Each docstring is the specification that its contract suite tests.

Read these first: what the services may rely on, and what an implementation must keep.
"""
