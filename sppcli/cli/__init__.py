"""The command line: options to configs, stages to printed summaries, errors to exit codes."""
