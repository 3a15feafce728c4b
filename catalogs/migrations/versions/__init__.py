"""One file a version; none is changed after it was released."""
