"""The stages, one file each. They meet only in files."""
