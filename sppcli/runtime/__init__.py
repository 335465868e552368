"""How work runs: processes, threads, memory, progress, files that are whole or absent. It knows nothing of images."""
