"""The command `twinlens`: one file a verb."""
