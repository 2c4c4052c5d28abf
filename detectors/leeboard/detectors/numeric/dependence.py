"""Dependence of a stream on its past: prewhitening of level and spread, and long-run variance of block means.

Predictions learn `LAG` events late, so that a change is not learned away before it is found. They are used only as far
as they have predicted events out of sample (`trust`: a slope that is zero for a stream that cannot be predicted).
"""

import math

import numpy as np
from leeboard.detectors.core.betting import CLIP
from leeboard.detectors.core.jit import Floats, Record, kernel
from leeboard.detectors.core.special import log_normal_tail, normal_quantile

#: events after which a pair of (features, target) is learned from
LAG = 64
#: rates of the EWMAs of the level, as in HAR models (Corsi 2009): last value, about 3, 10 and 33 events
LEVEL_RATES = np.array([1.0, 0.3, 0.1, 0.03])
LEVEL_FEATURES = LEVEL_RATES.size
#: rates of the EWMAs of the spread: about 5, 20 and 100 events
SPREAD_RATES = np.array([0.2, 0.05, 0.01])
SPREAD_FEATURES = SPREAD_RATES.size
#: prior precisions of the two ridge regressions, whose prior mean is "independent"
LEVEL_RIDGE = 30.0
SPREAD_RIDGE = 300.0
#: squared residuals are clipped here
ENERGY_CAP = 9.0
#: recent scores held: the newest LAG are not learned from yet, all serve the estimate of a change time
RECENT = 128
assert RECENT >= LAG

WHITENER = np.dtype(
    [
        ("level", "f8", LEVEL_FEATURES),  # EWMAs of the score
        ("level_late", "f8", LEVEL_FEATURES),  # their values LAG events ago
        ("level_coefficients", "f8", LEVEL_FEATURES),
        ("level_precision", "f8", (LEVEL_FEATURES, LEVEL_FEATURES)),  # inverse information matrix
        ("level_cross", "f8"),  # sum of targets x out-of-sample predictions
        ("level_power", "f8"),  # sum of squared predictions
        ("spread", "f8", SPREAD_FEATURES),  # EWMAs of the squared residual less 1
        ("spread_late", "f8", SPREAD_FEATURES),
        ("spread_coefficients", "f8", SPREAD_FEATURES),
        ("spread_precision", "f8", (SPREAD_FEATURES, SPREAD_FEATURES)),
        ("spread_cross", "f8"),
        ("spread_power", "f8"),
        ("scores", "f4", RECENT),  # ring; the newest LAG are not learned from yet
        ("energies", "f4", LAG),  # ring of squared residuals less 1
        ("queued", "i8"),  # events since the last restart
    ],
    align=True,
)


@kernel
def open_whitener(w: Record) -> None:
    """Start from the prior: nothing is predicted."""
    for i in range(LEVEL_FEATURES):
        for j in range(LEVEL_FEATURES):
            w["level_precision"][i, j] = 1.0 / LEVEL_RIDGE if i == j else 0.0
    for i in range(SPREAD_FEATURES):
        for j in range(SPREAD_FEATURES):
            w["spread_precision"][i, j] = 1.0 / SPREAD_RIDGE if i == j else 0.0


@kernel
def restart_whitener(w: Record) -> None:
    """Forget the recent scores; what was learned of the autocorrelation stays."""
    w["level"][:] = 0.0
    w["level_late"][:] = 0.0
    w["spread"][:] = 0.0
    w["spread_late"][:] = 0.0
    w["queued"] = 0


@kernel
def teach(coefficients: Floats, precision: Floats, features: Floats, target: float, gain: Floats) -> float:
    """One step of recursive least squares; returns the prediction that was made before it.

    `coefficients`, `features`, `gain` (scratch space): (n,); `precision` (n, n): inverse information matrix.
    """
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
    """Out-of-sample slope of targets on predictions, in [0, 1].

    `cross`: sum of targets x predictions; `power`: sum of squared predictions.
    """
    return min(max(cross / (power + 1.0), 0.0), 1.0)


@kernel
def whiten(w: Record, z: float, learn: bool, gain: Floats) -> float:
    """Score z less its prediction from the recent scores, divided by the predicted spread; then adds z to these.

    `learn` false: the EWMAs are updated, but no coefficients. `gain`: scratch space of at least LEVEL_FEATURES numbers.
    """
    level, spread = w["level"], w["spread"]
    prediction = 0.0
    for i in range(LEVEL_FEATURES):
        prediction += w["level_coefficients"][i] * level[i]
    prediction *= trust(w["level_cross"], w["level_power"])
    residual = z - min(max(prediction, -CLIP), CLIP)
    energy = min(residual * residual, ENERGY_CAP) - 1.0
    if learn:
        teach_late(w, z, energy, gain)
    scale = 1.0
    reliance = trust(w["spread_cross"], w["spread_power"])
    for i in range(SPREAD_FEATURES):
        scale += reliance * w["spread_coefficients"][i] * spread[i]
        spread[i] += SPREAD_RATES[i] * (energy - spread[i])
    for i in range(LEVEL_FEATURES):
        level[i] += LEVEL_RATES[i] * (z - level[i])
    return residual / math.sqrt(min(max(scale, 0.2), 5.0))


@kernel
def teach_late(w: Record, z: float, energy: float, gain: Floats) -> None:
    """Queue this event, and learn from that of LAG events ago. `energy`: squared residual less 1."""
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
        for i in range(LEVEL_FEATURES):
            late[i] += LEVEL_RATES[i] * (score - late[i])
        for i in range(SPREAD_FEATURES):
            spread_late[i] += SPREAD_RATES[i] * (power - spread_late[i])
    w["scores"][queued % RECENT] = z
    w["energies"][queued % LAG] = energy
    w["queued"] = queued + 1


#: lengths of the non-overlapping blocks, in events
BLOCK_EVENTS = np.array([16, 64, 256, 1024])
SCALES = BLOCK_EVENTS.size
#: prior blocks, and their mean square relative to that of independent scores
PRIOR_BLOCKS = 4.0
PRIOR_VARIANCE_INFLATION = 2.0
#: past blocks that count at most, past blocks needed, and age of the reference needed (in blocks)
BLOCK_MEMORY = 200.0
BLOCKS_NEEDED = 3.0
AGE_NEEDED = 3

LONG_RUN = np.dtype(
    [
        ("sum", "f8", SCALES),  # of the scores of the running block
        ("count", "i8", SCALES),
        ("start", "i8", SCALES),  # first event of the running block
        ("squares", "f8", SCALES),  # sum of squared normalised means of past blocks
        ("cross", "f8", SCALES),  # sum of products of consecutive normalised means
        ("previous", "f8", SCALES),  # newest normalised mean
        ("blocks", "f8", SCALES),  # number of past blocks
        ("surest", "i8"),  # scale of the block that gave the last evidence
    ],
    align=True,
)


@kernel
def clear_blocks(b: Record) -> None:
    """Discard the running blocks; past ones stay."""
    for j in range(SCALES):
        b["sum"][j] = 0.0
        b["count"][j] = 0
        b["previous"][j] = 0.0


@kernel
def block_variance(b: Record, j: int) -> float:
    """Long-run variance at scale j: mean square of past normalised block means, at least 1 (as for independence)."""
    variance: float = (PRIOR_BLOCKS * PRIOR_VARIANCE_INFLATION + b["squares"][j]) / (PRIOR_BLOCKS + b["blocks"][j])
    return max(1.0, variance)


@kernel
def student_score(b: Record, j: int, q: float) -> float:
    """Size of the normal score of normalised block mean q: Student's t of past blocks, transformed (Wallace 1959)."""
    squares, blocks = b["squares"][j], b["blocks"][j]
    rho = min(max(b["cross"][j] / max(squares, 1e-9), 0.0), 0.95)
    freedom = PRIOR_BLOCKS + blocks * (1.0 - rho * rho) / (1.0 + rho * rho)
    ratio = q * q / (block_variance(b, j) * freedom)
    score: float = (1.0 - 2.0 / (8.0 * freedom + 3.0)) * math.sqrt(freedom * math.log(1.0 + ratio))
    return score


@kernel
def block_evidence(b: Record, z: float, t: int, oldest: int) -> float:
    """Add score z of event t to all running blocks; log of the highest level of a block that ends here, or -inf.

    Blocks are not accumulated, so nothing is assumed about the dependence between them. A block of b events with
    normal score x supports one false crossing in b / (16 P(N(0,1) > x)) events: half of the budget, four scales, two
    sides. `oldest`: event with which the reference of the scores begins.
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
    """Add a finished block with normalised mean q to the past ones of its scale, and start the next."""
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
    """Smallest lasting shift, in sd of the scores, with which one block reaches a level of exp(nats); inf for none."""
    smallest = np.inf
    for j in range(SCALES):
        if b["blocks"][j] < BLOCKS_NEEDED:
            continue
        tail = min(0.02, BLOCK_EVENTS[j] / (16.0 * math.exp(nats)))
        smallest = min(smallest, -normal_quantile(tail) * math.sqrt(block_variance(b, j) / BLOCK_EVENTS[j]))
    return smallest
