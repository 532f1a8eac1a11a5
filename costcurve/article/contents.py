"""All claims, in the order in which the article makes them."""

from costcurve.article.claims import Claim
from costcurve.article.hidden_layer_claim import HIDDEN_LAYERS
from costcurve.article.loss_claims import NEAR_ZERO, NEVER_NEGATIVE
from costcurve.article.mnist_claims import BETTER, CROSS_ENTROPY, QUADRATIC
from costcurve.article.neuron_claims import CURE, GOOD_START, SLOW_START
from costcurve.article.remark_claims import BADLY_WRONG, SATURATION
from costcurve.article.rescue_claim import RESCUE

CLAIMS: tuple[Claim, ...] = (
    GOOD_START,
    SLOW_START,
    CURE,
    NEVER_NEGATIVE,
    NEAR_ZERO,
    QUADRATIC,
    CROSS_ENTROPY,
    BETTER,
    HIDDEN_LAYERS,
    BADLY_WRONG,
    SATURATION,
    RESCUE,
)
