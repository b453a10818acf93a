"""The parts of :mod:`secateur.ray`."""
