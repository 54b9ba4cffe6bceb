"""Models nested in a fitted one, made of its statistics."""
