"""Everything that is trained: the neuron, the multilayer perceptron, and the one source of randomness for both."""
