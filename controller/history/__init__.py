"""What was before: versions of objects, changes undone, and who wrote a line of a file.

Above the commands, whose doors an undo goes through; only the registry imports it.
"""
