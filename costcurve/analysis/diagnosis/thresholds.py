"""Thresholds of the diagnosis, each with its reason.

Those of networks separate sound trainings from faulty ones in one half of a benchmark; its other half measures how well
they do (benchmarks/records/diagnosis.md).
"""

# Causes are looked for if this share of the test images is missing from the expected accuracy, whose error has a
# standard deviation of 0.006 …
GAP = 0.02
# … and a digit is lost if this share of its images, or less, is read.
LOST_CLASS = 0.1
# Accuracies below this are those of constant guesses: between 892 and 1,135 of the 10,000 test images.
GUESSED = 0.12

# A training is judged by its course from this many updates on, or at its end.
LEAST_UPDATES = 1_000

# Fewer units of a hidden layer are too few; sound networks were found from 15 units on.
NARROW = 9
# Fewer updates are too few …
FEW_UPDATES = 1_000
# … unless the rate is far from the sound one: then it is the first cause.
FEW_BUT_SMALL, FEW_BUT_LARGE = 0.12, 12.0
# The effective learning rate in relation to the sound one: below and above it is too small and too large.
SMALL_RATE, LARGE_RATE = 0.33, 2.3
# Nearer to the sound rate it is the likeliest cause if no other is seen.
RATHER_SMALL, RATHER_LARGE = 0.6, 1.5

# A unit 0.95 away from a target of 0 or 1 has a slowdown factor of 20 (σ′(z) = a (1 − a) = 1/21): the quadratic loss
# leaves it a twentieth of its error to learn from. Sound starts show 4 to 14 …
SLOWDOWN = 20.0
# … and faulty ones more than this.
START_SLOWDOWN = 14.5
# … and a slow hidden layer alone does not bring it above this.
BEYOND_HIDDEN_SLOWDOWN = 45.0
# A start near that, and epochs that stay near it, are a slow output, too, if much is missing.
COURSE_START_SLOWDOWN, COURSE_SLOWDOWN, COURSE_GAP = 10.0, 12.0, 0.05
COURSE_UPDATES = 600
# Cross-entropy needs about this many updates to undo such a start.
LONG_ENOUGH_FOR_LOSS = 20_000
# If one of the ten outputs always misses its digit (one image in ten), the mean |a − y| is 1/100. A smaller error is no
# reason to learn more.
WRONG_OUTPUTS = 0.01
# A neuron's output is wrong if it misses the target by half of the range from 0 to 1, or more.
WRONG_OUTPUT = 0.5

# A hidden layer starts slow if its mean σ′ is below this; N(0, 1) weights give 0.035 to 0.05, four times as large ones
# 0.011. The largest possible σ′ is 0.25.
SLOW_HIDDEN_START = 0.0335

# Share of units from which most of a layer is saturated: σ′(z) < 0.01, an output within 1 % of 0 or 1.
MOSTLY_SATURATED = 0.5

# A linear classifier reads 88 % of MNIST's test images (LeCun et al., "Gradient-based learning applied to document
# recognition", 1998, table of error rates: 12.0 %). A network on a plateau below that has not learned what it could.
LINEAR_CLASSIFIER = 0.88
# Learning is on a plateau while it adds less than this to the best accuracy so far. 100 of 10,000 images are three
# times the standard error of an accuracy of 88 % on 10,000 images (0.0032).
STANDING_STILL = 0.01
# Shorter plateaus occur by chance. Updates are counted, so the length of an epoch does not matter.
PLATEAU_UPDATES = 2_000

# The quadratic gradient of one sigmoid neuron with x = 1, y = 0 is a² (1 − a), which peaks at a = 2/3. Below half of
# the peak the neuron is on its plateau.
PEAK_SHARE = 0.5
# A neuron has learned if it won this share of the way from its first output to its target.
LEARNED = 0.75
# Its repair is to win this share.
WELL_LEARNED = 0.9
# A slow start of less than this share of the updates is not worth a word.
NEGLIGIBLE = 0.02
# Of a job with fewer updates than this it is said that it makes too few.
FEW_NEURON_UPDATES = 50
# Updates of a neuron that a simulation of a repair makes at most.
SIMULATED_UPDATES = 5_000

# From here on, the difference of two accuracies on the 10,000 test images is more than chance: three standard errors of
# the difference at 95 %, 3 √(2 · 0.95 · 0.05 / 10,000) = 0.0092.
ACCURACY_DIFFERENCE = 0.01
# The article compares how soon networks read 9,000 of 10,000 images.
MARK = 0.9
# From here on, the epochs by which one network reaches the mark sooner are more than chance.
MARK_EPOCHS = 2
