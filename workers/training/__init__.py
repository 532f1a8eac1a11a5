"""Training without engines: neuron, multilayer perceptron, data sets and the one source of randomness."""
