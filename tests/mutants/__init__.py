"""Guards that can be taken out by name, and the runner that shows that their tests then fail.

`mutant` is the record, `guards` are the records, `trial` tries one on a copy of the tree, `witness`
is what pytest runs with there, `__main__` is ``script/mutants``.
"""
