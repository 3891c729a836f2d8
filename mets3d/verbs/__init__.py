"""The verbs of the command line: one file each, with SUMMARY, arguments(parser) and run(options)."""
