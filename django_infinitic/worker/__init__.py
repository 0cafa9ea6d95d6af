"""Workers: the loops that step workflows and run tasks."""
