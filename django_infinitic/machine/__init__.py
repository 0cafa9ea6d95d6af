"""The machine: the bookkeeping of an instance. Pure: no Django, no I/O, no clock, no thread.

Messages come in, entries of the history and effects go out; loading an instance is a fold of
`evolve` over its entries. User code is run by the fibres, which the machine tells what to resume.
"""
