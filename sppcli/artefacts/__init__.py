"""The HDF5 files that stages leave behind: what each holds (`schema`) and how they are opened and committed (`store`)."""
