"""Decisions of the engine as pure functions: no input, no output, no clock of their own."""
