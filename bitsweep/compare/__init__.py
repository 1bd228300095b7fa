"""Two runs compared: what became faster, slower, more or less accurate, larger, broken, mended."""
