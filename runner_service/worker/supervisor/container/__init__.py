"""The pilot: the process that runs the steps of one attempt in a container, on the terms of a native process.

The supervisor starts one for each attempt that asks for a container, with the attempt's own pipes or terminal, and
speaks with it by `protocol`. It imports the standard library and `supervisor` only, and must stay small.
"""
