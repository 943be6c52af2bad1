"""Between proto messages and domain facts: pure functions, one module per noun."""
