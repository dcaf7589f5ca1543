"""What the user has -> samples. Images: `load.load(what, size=...)` gives a `pictures.Split` of `pictures.Pictures`."""
