"""Fuzzing: changed files into every reader, which may read them or refuse them in a sentence, and nothing else.

``make fuzz MINUTES=60 SEED=1`` looks for more; ``corpus/`` keeps what was found, and runs with the other tests.
"""
