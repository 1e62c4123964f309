"""The commands: in each module its flags and its function."""
