"""Routes, one file per resource. They translate; the store decides."""
