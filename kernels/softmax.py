"""The softmax carried over one more tile of keys: the step that the one-pass kernels share.

arXiv 2307.08691, Algorithm 1, lines 9 and 10, with exponents of 2: scores are scaled by
log2(e) / sqrt(D), and the maximum is kept in that unit.
"""

import triton
import triton.language as tl


@triton.jit
def carry(acc, denominator, maximum, score, v, scale_log2):
    """acc [rows, width], denominator and maximum [rows] after a tile of scores and its values.

    Left out keys have the score -inf. Where a row may keep no key of its first tiles, the maximum
    starts at a finite number below all scores: from -inf the row would become NaN.
    """
    above = tl.maximum(maximum, tl.max(score, 1) * scale_log2)
    p = tl.exp2(score * scale_log2 - above[:, None])
    alpha = tl.exp2(maximum - above)
    denominator = denominator * alpha + tl.sum(p, 1)
    acc = tl.dot(p.to(v.dtype), v, acc * alpha[:, None], input_precision="ieee")
    return acc, denominator, above


@triton.jit
def natural(maximum, denominator):
    """The natural logarithm of the sum, from a maximum in exponents of 2: times ln 2."""
    return (maximum + tl.log2(denominator)) * 0.6931471805599453
