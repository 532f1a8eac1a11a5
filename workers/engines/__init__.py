"""How it is trained: engines that turn a spec into a stream of reports. No engine knows the store."""
