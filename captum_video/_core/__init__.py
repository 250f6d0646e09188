"""What every room stands on: clip checks, error texts, guards, whole files."""
