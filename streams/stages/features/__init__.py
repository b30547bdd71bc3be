"""bars -> features: indicators over a window that takes revisions."""
