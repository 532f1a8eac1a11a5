"""The contract and the durable store: what may be trained, and what became of it. No HTTP, no torch."""
