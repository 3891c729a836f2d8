"""Looks at the machine that mets3d works on, and makes the folder of a new project."""
