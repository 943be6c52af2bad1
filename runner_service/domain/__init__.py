"""Facts and rules, standard library only: what is true whatever stores, sends or runs it."""
