"""Where a figure begins to mean something, and why there. What was seen: benchmarks/records/diagnosis.md."""

# A slowdown factor of 20 is that of a unit 0.95 away from a target of 0 or 1 (σ′(z) = a (1 − a) = 1/21): the quadratic
# loss leaves it a twentieth of its error to learn from. Networks that learn well show 4 to 15, at the article's start
# as well as later; those that stand still, and those that have lost a digit, 20 to some hundreds.
SLOWDOWN = 20.0
# One output of ten that misses its digit whenever it comes, one image in ten, makes a mean |a − y| of 1/100. Less is no
# reason to learn more.
WRONG_OUTPUTS = 0.01
# A neuron with one output is wrong beyond the middle between 0 and 1.
WRONG_OUTPUT = 0.5

# A hidden layer learns slowly if it passes back less than a twentieth of what reaches it, σ′ being 0.25 at the most
# (Nielsen, Neural Networks and Deep Learning, ch. 5: each layer of a deep network costs such a factor) …
PASSED_ON = 0.25 / 20
# … and if an update moves its weights by less than a twentieth of the share by which it moves the output layer's.
UPDATE_SHARE = 1 / 20

# A layer of which most units are saturated: σ′(z) < 0.01, at 1 % from 0 or 1.
MOSTLY_SATURATED = 0.5

# A linear classifier reads 88 % of MNIST's test images (LeCun et al., "Gradient-based learning applied to document
# recognition", 1998, table of error rates: 12.0 %). What stands still below that has not learned what it could.
LINEAR_CLASSIFIER = 0.88
# Learning stands still while an epoch adds less than this to the best accuracy so far: 100 of 10,000 images, three
# times the standard error of an accuracy of 88 % on so many (0.0032).
STANDING_STILL = 0.01
# Shorter is chance.
PLATEAU_EPOCHS = 3

# The quadratic gradient of one sigmoid neuron with x = 1, y = 0 is a² (1 − a), which peaks at a = 2/3. Below half of
# the peak the neuron is on its plateau.
PEAK_SHARE = 0.5

# Two accuracies on the 10,000 test images differ by more than chance from here on: three standard errors of their
# difference at 95 %, 3 √(2 · 0.95 · 0.05 / 10,000) = 0.0092.
ACCURACY_DIFFERENCE = 0.01
# The article's mark: how soon a network reads 9,000 of 10,000 images.
MARK = 0.9
# Epochs by which one reaches the mark sooner that are no chance.
MARK_EPOCHS = 2
