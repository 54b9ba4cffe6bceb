"""The profile likelihood of single parameters."""
