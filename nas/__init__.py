"""nas: find residual networks."""
