"""Thresholds of the diagnosis, each with its reason.

The measurements are in benchmarks/records/diagnosis.md.
"""

# A unit 0.95 away from a target of 0 or 1 has a slowdown factor of 20 (σ′(z) = a (1 − a) = 1/21): the quadratic loss
# leaves it a twentieth of its error to learn from. Networks that learn well show 4 to 15, at the article's start and
# later. Networks that do not learn, and those that have lost a digit, show 20 to several hundred.
SLOWDOWN = 20.0
# If one of the ten outputs always misses its digit (one image in ten), the mean |a − y| is 1/100. A smaller error is no
# reason to learn more.
WRONG_OUTPUTS = 0.01
# A neuron's output is wrong if it misses the target by half of the range from 0 to 1, or more.
WRONG_OUTPUT = 0.5

# A hidden layer learns slowly if its mean σ′ is less than a twentieth of the largest possible σ′, 0.25: the gradient
# that it passes back has this factor (Nielsen, Neural Networks and Deep Learning, ch. 5: one per layer) …
PASSED_ON = 0.25 / 20
# … and if an update changes its weights by less than a twentieth of what it changes the output layer's, both in
# relation to the norm of the weights.
UPDATE_SHARE = 1 / 20

# Share of units from which most of a layer is saturated: σ′(z) < 0.01, an output within 1 % of 0 or 1.
MOSTLY_SATURATED = 0.5

# A linear classifier reads 88 % of MNIST's test images (LeCun et al., "Gradient-based learning applied to document
# recognition", 1998, table of error rates: 12.0 %). A network on a plateau below that has not learned what it could.
LINEAR_CLASSIFIER = 0.88
# Learning is on a plateau while an epoch adds less than this to the best accuracy so far. 100 of 10,000 images are
# three times the standard error of an accuracy of 88 % on 10,000 images (0.0032).
STANDING_STILL = 0.01
# Shorter plateaus occur by chance.
PLATEAU_EPOCHS = 3

# The quadratic gradient of one sigmoid neuron with x = 1, y = 0 is a² (1 − a), which peaks at a = 2/3. Below half of
# the peak the neuron is on its plateau.
PEAK_SHARE = 0.5

# From here on, the difference of two accuracies on the 10,000 test images is more than chance: three standard errors of
# the difference at 95 %, 3 √(2 · 0.95 · 0.05 / 10,000) = 0.0092.
ACCURACY_DIFFERENCE = 0.01
# The article compares how soon networks read 9,000 of 10,000 images.
MARK = 0.9
# From here on, the epochs by which one network reaches the mark sooner are more than chance.
MARK_EPOCHS = 2
