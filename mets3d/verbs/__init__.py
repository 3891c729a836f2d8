"""Holds the verbs of the command line: one file each, with SUMMARY, ORDER, arguments(parser) and run(options).

`mets3d.__main__` finds them here by their SUMMARY; the verb of `import_weights.py` is `import-weights`. A verb imports
what it needs inside `run`, so that `mets3d --help` stays quick.
"""
