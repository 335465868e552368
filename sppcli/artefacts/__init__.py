"""The HDF5 files that stages leave behind: what each holds (`schema`), and how it is opened and committed (`store`)."""
