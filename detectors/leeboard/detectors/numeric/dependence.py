"""What a stream's own past predicts: prewhitening of its level and spread, and the wander of its block means.

Everything here learns `LAG` events late, so that a change cannot teach itself away, and is used only as far as it has
predicted events that it had not seen (out-of-sample slope; zero for a stream that cannot be predicted).
"""

import math

import numpy as np
from leeboard.detectors.core.betting import CLIP
from leeboard.detectors.core.jit import Floats, Record, kernel
from leeboard.detectors.core.special import log_normal_tail, normal_quantile

#: events before a pair of (features, target) may teach
LAG = 64
#: memory of the level, as in HAR models (Corsi 2009): last value, about 3, 10 and 33 events
LEVEL_RATES = np.array([1.0, 0.3, 0.1, 0.03])
LEVELS = LEVEL_RATES.size
#: memory of the spread: about 5, 20 and 100 events
SPREAD_RATES = np.array([0.2, 0.05, 0.01])
SPREADS = SPREAD_RATES.size
#: prior precisions of the two ridge regressions ("independent" is the prior)
LEVEL_RIDGE = 30.0
SPREAD_RIDGE = 300.0
ENERGY_CAP = 9.0
#: recent scores kept: the last LAG wait to teach, all serve the estimate of a change time
RECENT = 128

WHITENER = np.dtype(
    [
        ("level", "f8", LEVELS),  # EWMAs of the score
        ("level_late", "f8", LEVELS),  # the same, LAG events ago
        ("level_coefficients", "f8", LEVELS),
        ("level_precision", "f8", (LEVELS, LEVELS)),  # inverse information matrix
        ("level_cross", "f8"),
        ("level_power", "f8"),
        ("spread", "f8", SPREADS),  # EWMAs of the residual's energy less 1
        ("spread_late", "f8", SPREADS),
        ("spread_coefficients", "f8", SPREADS),
        ("spread_precision", "f8", (SPREADS, SPREADS)),
        ("spread_cross", "f8"),
        ("spread_power", "f8"),
        ("scores", "f4", RECENT),  # ring; the newest LAG wait to teach
        ("energies", "f4", LAG),
        ("queued", "i8"),  # events since the last restart
    ],
    align=True,
)


@kernel
def open_whitener(w: Record) -> None:
    """Start from the prior: nothing can be predicted."""
    for i in range(LEVELS):
        for j in range(LEVELS):
            w["level_precision"][i, j] = 1.0 / LEVEL_RIDGE if i == j else 0.0
    for i in range(SPREADS):
        for j in range(SPREADS):
            w["spread_precision"][i, j] = 1.0 / SPREAD_RIDGE if i == j else 0.0


@kernel
def restart_whitener(w: Record) -> None:
    """Forget the recent course, keep what was learned of the way of moving."""
    w["level"][:] = 0.0
    w["level_late"][:] = 0.0
    w["spread"][:] = 0.0
    w["spread_late"][:] = 0.0
    w["queued"] = 0


@kernel
def teach(coefficients: Floats, precision: Floats, features: Floats, target: float, gain: Floats) -> float:
    """One step of recursive least squares; returns the prediction made before learning."""
    n = coefficients.size
    prediction = 0.0
    denominator = 1.0
    for i in range(n):
        prediction += coefficients[i] * features[i]
        g = 0.0
        for j in range(n):
            g += precision[i, j] * features[j]
        gain[i] = g
        denominator += g * features[i]
    step = (target - prediction) / denominator
    for i in range(n):
        coefficients[i] += gain[i] * step
        scaled = gain[i] / denominator
        for j in range(n):
            precision[i, j] -= scaled * gain[j]
    return prediction


@kernel
def trust(cross: float, power: float) -> float:
    """Out-of-sample slope of targets on predictions, in [0, 1]."""
    return min(max(cross / (power + 1.0), 0.0), 1.0)


@kernel
def whiten(w: Record, z: float, learn: bool, gain: Floats) -> float:
    """Score z less what the recent course predicts, divided by the predicted spread; then takes z in.

    `learn` false: the filters run, nothing is taught. `gain` is scratch space of at least LEVELS numbers.
    """
    level, spread = w["level"], w["spread"]
    prediction = 0.0
    for i in range(LEVELS):
        prediction += w["level_coefficients"][i] * level[i]
    prediction *= trust(w["level_cross"], w["level_power"])
    residual = z - min(max(prediction, -CLIP), CLIP)
    energy = min(residual * residual, ENERGY_CAP) - 1.0
    if learn:
        teach_late(w, z, energy, gain)
    scale = 1.0
    reliance = trust(w["spread_cross"], w["spread_power"])
    for i in range(SPREADS):
        scale += reliance * w["spread_coefficients"][i] * spread[i]
        spread[i] += SPREAD_RATES[i] * (energy - spread[i])
    for i in range(LEVELS):
        level[i] += LEVEL_RATES[i] * (z - level[i])
    return residual / math.sqrt(min(max(scale, 0.2), 5.0))


@kernel
def teach_late(w: Record, z: float, energy: float, gain: Floats) -> None:
    """Queue this event and teach the one of LAG events ago."""
    queued = w["queued"]
    if queued >= LAG:
        score = np.float64(w["scores"][(queued - LAG) % RECENT])
        power = np.float64(w["energies"][queued % LAG])
        late, spread_late = w["level_late"], w["spread_late"]
        prediction = teach(w["level_coefficients"], w["level_precision"], late, score, gain)
        w["level_cross"] += score * prediction
        w["level_power"] += prediction * prediction
        prediction = teach(w["spread_coefficients"], w["spread_precision"], spread_late, power, gain)
        w["spread_cross"] += power * prediction
        w["spread_power"] += prediction * prediction
        for i in range(LEVELS):
            late[i] += LEVEL_RATES[i] * (score - late[i])
        for i in range(SPREADS):
            spread_late[i] += SPREAD_RATES[i] * (power - spread_late[i])
    w["scores"][queued % RECENT] = z
    w["energies"][queued % LAG] = energy
    w["queued"] = queued + 1


#: lengths of the non-overlapping blocks, in events
BLOCK_EVENTS = np.array([16, 64, 256, 1024])
SCALES = BLOCK_EVENTS.size
#: prior blocks and how much larger than independence their mean square is taken to be
PRIOR_BLOCKS = 4.0
PRIOR_VARIANCE_INFLATION = 2.0
#: past blocks remembered, past blocks needed, and age of the reference needed (in blocks)
BLOCK_MEMORY = 200.0
BLOCKS_NEEDED = 3.0
AGE_NEEDED = 3

LONG_RUN = np.dtype(
    [
        ("sum", "f8", SCALES),  # of the scores of the running block
        ("count", "i8", SCALES),
        ("start", "i8", SCALES),  # event at which the running block began
        ("squares", "f8", SCALES),  # sum of squared normalised block means
        ("cross", "f8", SCALES),  # of products of neighbours
        ("previous", "f8", SCALES),
        ("blocks", "f8", SCALES),
        ("surest", "i8"),  # scale of the block behind the last evidence
    ],
    align=True,
)


@kernel
def clear_blocks(b: Record) -> None:
    """Begin new blocks; the memory of past ones stays."""
    for j in range(SCALES):
        b["sum"][j] = 0.0
        b["count"][j] = 0
        b["previous"][j] = 0.0


@kernel
def block_variance(b: Record, j: int) -> float:
    """How much larger than independence allows the mean square of past block means is, at least 1."""
    variance: float = (PRIOR_BLOCKS * PRIOR_VARIANCE_INFLATION + b["squares"][j]) / (PRIOR_BLOCKS + b["blocks"][j])
    return max(1.0, variance)


@kernel
def student_score(b: Record, j: int, q: float) -> float:
    """Normalised block mean q as a normal score, given the past blocks of its scale (Wallace 1959)."""
    squares, blocks = b["squares"][j], b["blocks"][j]
    rho = min(max(b["cross"][j] / max(squares, 1e-9), 0.0), 0.95)
    freedom = PRIOR_BLOCKS + blocks * (1.0 - rho * rho) / (1.0 + rho * rho)
    ratio = q * q / (block_variance(b, j) * freedom)
    score: float = (1.0 - 2.0 / (8.0 * freedom + 3.0)) * math.sqrt(freedom * math.log(1.0 + ratio))
    return score


@kernel
def block_evidence(b: Record, z: float, t: int, oldest: int) -> float:
    """Take score z of event t into all running blocks; log level of the surest block that ends here, else -inf.

    One block, nothing accumulated: hence no assumption about dependence between blocks. A block of b events whose
    score is x supports one false crossing in b / (16 P(N(0,1) > x)) events: half of the budget, four scales, two sides.
    `oldest` is the event from which the reference of the scores dates.
    """
    level = -np.inf
    for j in range(SCALES):
        if b["count"][j] == 0:
            b["start"][j] = t
        b["sum"][j] += z
        b["count"][j] += 1
        length = BLOCK_EVENTS[j]
        if b["count"][j] < length:
            continue
        q = b["sum"][j] / math.sqrt(length)
        if b["blocks"][j] >= BLOCKS_NEEDED and b["start"][j] - oldest >= AGE_NEEDED * length:
            claimed = math.log(length / 16.0) - log_normal_tail(student_score(b, j, q))
            if claimed > level:
                level = claimed
                b["surest"] = j
        remember_block(b, j, q)
    return level


@kernel
def remember_block(b: Record, j: int, q: float) -> None:
    """Add a finished block to the memory of its scale and begin the next."""
    b["cross"][j] += q * b["previous"][j]
    b["previous"][j] = q
    b["squares"][j] += q * q
    b["blocks"][j] += 1.0
    if b["blocks"][j] > BLOCK_MEMORY:
        b["squares"][j] *= BLOCK_MEMORY / b["blocks"][j]
        b["cross"][j] *= BLOCK_MEMORY / b["blocks"][j]
        b["blocks"][j] = BLOCK_MEMORY
    b["sum"][j] = 0.0
    b["count"][j] = 0


@kernel
def visible_shift(b: Record, nats: float) -> float:
    """Smallest lasting shift, in sd of the scores, that one block shows at a level of exp(nats)."""
    smallest = np.inf
    for j in range(SCALES):
        if b["blocks"][j] < BLOCKS_NEEDED:
            continue
        tail = min(0.02, BLOCK_EVENTS[j] / (16.0 * math.exp(nats)))
        smallest = min(smallest, -normal_quantile(tail) * math.sqrt(block_variance(b, j) / BLOCK_EVENTS[j]))
    return smallest
