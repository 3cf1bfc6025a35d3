"""Cascades with known pass counts, as texts. Ranks are those of the algorithm's own literature."""

from __future__ import annotations


def text(name: str, ranks: str, tensors: str, outputs: str, einsums: str, **more: str) -> str:
    """A cascade file; ranks "M P", tensors "S:M,P G:P"."""
    declared = "".join(f"  {t.split(':')[0]}: [{t.split(':')[1]}]\n" for t in tensors.split())
    extra = "".join(f"{key}: {value}\n" for key, value in more.items())
    body = "".join(f"  {line.strip()}\n" for line in einsums.strip().splitlines())
    named = ", ".join(f"{r}: {r}" for r in ranks.split())
    return (
        f"cascade: {name}\nsource: test\nranks: {{{named}}}\n"
        f"{extra}tensors:\n{declared}outputs: [{outputs}]\neinsums: |\n{body}"
    )


LAYERNORM = text("layernorm", "T D", "X:T,D S:T U:T,D Q:T Z:T,D", "Z", """
    S[t] = X[t,d]
    U[t,d] = X[t,d] - S[t]
    Q[t] = square(U[t,d])
    Z[t,d] = U[t,d] / sqrt(Q[t])""")  # fmt: skip
LAYERNORM_MOMENTS = text("layernorm_moments", "T D", "X:T,D S:T Q:T Z:T,D", "Z", """
    S[t] = X[t,d]
    Q[t] = square(X[t,d])
    Z[t,d] = (X[t,d] - S[t]) / sqrt(Q[t] - S[t])""")  # fmt: skip
VARIANCE = text("variance", "D", "X:D S: Q:", "Q", """
    S[] = X[d]
    Q[] = square(X[d] - S[])""")  # fmt: skip
WELFORD = text("welford", "D", "X:D S:D Q:D Z:", "Z", """
    S[d+1] = S[d] + X[d]
    Q[d+1] = Q[d] + square(X[d] - S[d+1])
    Z[] = Q[D]""", initial="{S: 0, Q: 0}")  # fmt: skip
LOG_SUM_EXP = text("logsumexp", "M", "X:M G: D: Z:", "Z", """
    G[] = X[m] :: max
    D[] = exp(X[m] - G[])
    Z[] = log(D[]) + G[]""")  # fmt: skip
LOG_SUM_EXP_RUNNING = text("logsumexp_running", "M", "X:M G:M D:M Z:", "Z", """
    G[m+1] = max(G[m], X[m])
    D[m+1] = D[m] * exp(G[m] - G[m+1]) + exp(X[m] - G[m+1])
    Z[] = log(D[M]) + G[M]""", initial="{G: -inf, D: 0}")  # fmt: skip
CROSS_ENTROPY = text("cross_entropy", "V", "Z:V Y:V G: D: L:", "L", """
    G[] = Z[v] :: max
    D[] = exp(Z[v] - G[])
    L[] = Y[v] * (Z[v] - G[] - log(D[]))""")  # fmt: skip
SOFTMAX = text("softmax", "V", "Z:V G: N:V D: A:V", "A", """
    G[] = Z[v] :: max
    N[v] = exp(Z[v] - G[])
    D[] = N[v]
    A[v] = N[v] / D[]""")  # fmt: skip
RMSNORM = text("rmsnorm_matmul", "D N", "X:D W:D,N Q: Z:D Y:N", "Y", """
    Q[] = square(X[d])
    Z[d] = X[d] / sqrt(Q[])
    Y[n] = Z[d] * W[d,n]""")  # fmt: skip
RMSNORM_DEFERRED = text("rmsnorm_deferred", "D N", "X:D W:D,N Q: Z:N Y:N", "Y", """
    Q[] = square(X[d])
    Z[n] = X[d] * W[d,n]
    Y[n] = Z[n] / sqrt(Q[])""")  # fmt: skip
LINEAR = text("linear", "M P E F", "Q:E,P K:E,M V:F,M S:E,F Y:F,P", "Y", """
    S[e,f] = K[e,m] * V[f,m]
    Y[f,p] = Q[e,p] * S[e,f]""")  # fmt: skip
# MALA: linear attention with the magnitude of the query kept (scale and shift from its own sums).
MALA = text("mala", "M P E F",
    "Q:E,P K:E,M V:F,M S:E,F KS:E VS:F D:P N:F,P Y:F,P", "Y", """
    S[e,f] = K[e,m] * V[f,m]
    KS[e] = K[e,m]
    VS[f] = V[f,m]
    D[p] = Q[e,p] * KS[e]
    N[f,p] = Q[e,p] * S[e,f]
    Y[f,p] = N[f,p] * (1 + 1 / D[p]) - D[p] * VS[f]""")  # fmt: skip
CHUNKED = text("causal_chunked", "M E",
    "Q:E,M1,M0 K:E,M1,M0 V:M1,M0 U:E,M1 H:E,M1 A:M1,M0,M0 O:M1,M0 I:M1,M0 Y:M1,M0", "Y", """
    U[e,m1] = K[e,m1,m0] * V[m1,m0]
    H[e,m1+1] = H[e,m1] + U[e,m1]
    A[m1,m0,n0] = Q[e,m1,m0] * K[e,m1,n0] | n0 <= m0
    O[m1,m0] = A[m1,m0,n0] * V[m1,n0] | n0 <= m0
    I[m1,m0] = Q[e,m1,m0] * H[e,m1]
    Y[m1,m0] = O[m1,m0] + I[m1,m0]""",
    partitions="{M: [M1, M0]}", variables="{n0: M0}", initial="{H: 0}")  # fmt: skip
# The shipped attentions without batch, heads and scores: small enough to unroll.
THREE_PASS = text("three_pass", "M P F", "S:M,P V:F,M G:P N:M,P D:P A:M,P AV:F,P", "AV", """
    G[p] = S[m,p] :: max
    N[m,p] = exp(S[m,p] - G[p])
    D[p] = N[m,p]
    A[m,p] = N[m,p] / D[p]
    AV[f,p] = A[m,p] * V[f,m]""")  # fmt: skip
DEFERRED = text("deferred", "M P F", "S:M,P V:F,M G:P N:M,P D:P U:F,P AV:F,P", "AV", """
    G[p] = S[m,p] :: max
    N[m,p] = exp(S[m,p] - G[p])
    D[p] = N[m,p]
    U[f,p] = N[m,p] * V[f,m]
    AV[f,p] = U[f,p] / D[p]""")  # fmt: skip
LOCAL = text("local", "M P F",
    "S:M1,M0,P V:F,M1,M0 L:M1,P N:M1,M0,P LD:M1,P G:P C:M1,P D:P A:M1,M0,P AV:F,P", "AV", """
    L[m1,p] = S[m1,m0,p] :: max
    N[m1,m0,p] = exp(S[m1,m0,p] - L[m1,p])
    LD[m1,p] = N[m1,m0,p]
    G[p] = L[m1,p] :: max
    C[m1,p] = exp(L[m1,p] - G[p])
    D[p] = LD[m1,p] * C[m1,p]
    A[m1,m0,p] = N[m1,m0,p] * C[m1,p] / D[p]
    AV[f,p] = A[m1,m0,p] * V[f,m1,m0]""", partitions="{M: [M1, M0]}")  # fmt: skip
TILED = text("one_pass_tiled", "M P F",
    "S:M1,M0,P V:F,M1,M0 L:M1,P R:M1,P N:M1,M0,P LD:M1,P C:M1,P D:M1,P LU:F,M1,P U:F,M1,P AV:F,P",
    "AV", """
    L[m1,p] = S[m1,m0,p] :: max
    R[m1+1,p] = max(R[m1,p], L[m1,p])
    N[m1,m0,p] = exp(S[m1,m0,p] - R[m1+1,p])
    LD[m1,p] = N[m1,m0,p]
    C[m1,p] = exp(R[m1,p] - R[m1+1,p])
    D[m1+1,p] = D[m1,p] * C[m1,p] + LD[m1,p]
    LU[f,m1,p] = N[m1,m0,p] * V[f,m1,m0]
    U[f,m1+1,p] = U[f,m1,p] * C[m1,p] + LU[f,m1,p]
    AV[f,p] = U[f,M1,p] / D[M1,p]""",
    partitions="{M: [M1, M0]}", initial="{R: -inf, D: 0, U: 0}")  # fmt: skip
# A recurrence down one rank beside one up the other: each advances along its own rank only.
TWO_WAYS = text("two_ways", "I J", "X:I,J Y:I,J W:I,J Z:I,J", "Z", """
    Y[i,j] = Y[i+1,j] + X[i,j]
    W[i,j+1] = W[i,j] + X[i,j]
    Z[i,j] = Y[i,j] * W[i,j+1]""", initial="{Y: 0, W: 0}")  # fmt: skip
# The running sum at i+1 holds X[i,j]: reading it beside the maximum of row i is a second pass.
ROW_SUM = text("row_sum", "I J", "X:I,J T:I G:I,J Z:I,J", "Z", """
    T[i] = X[i,j] :: max
    G[i+1,j] = G[i,j] + X[i,j]
    Z[i,j] = T[i] * G[i+1,j]""", initial="{G: 0}")  # fmt: skip
UNTILED = text("one_pass_untiled", "M P F",
    "S:M,P V:F,M G:M,P C:M,P N:M,P D:M,P U:F,M,P AV:F,P", "AV", """
    G[m+1,p] = max(G[m,p], S[m,p])
    C[m,p] = exp(G[m,p] - G[m+1,p])
    N[m,p] = exp(S[m,p] - G[m+1,p])
    D[m+1,p] = D[m,p] * C[m,p] + N[m,p]
    U[f,m+1,p] = U[f,m,p] * C[m,p] + N[m,p] * V[f,m]
    AV[f,p] = U[f,M,p] / D[M,p]""", initial="{G: -inf, D: 0, U: 0}")  # fmt: skip
SPLIT_K = text("split_k", "M P F",
    "S:M1,M0,P V:F,M1,M0 LM:M1,P N:M1,M0,P LD:M1,P LV:F,M1,P G:P C:M1,P D:P U:F,P AV:F,P", "AV", """
    LM[m1,p] = S[m1,m0,p] :: max
    N[m1,m0,p] = exp(S[m1,m0,p] - LM[m1,p])
    LD[m1,p] = N[m1,m0,p]
    LV[f,m1,p] = N[m1,m0,p] * V[f,m1,m0]
    G[p] = LM[m1,p] :: max
    C[m1,p] = exp(LM[m1,p] - G[p])
    D[p] = LD[m1,p] * C[m1,p]
    U[f,p] = LV[f,m1,p] * C[m1,p]
    AV[f,p] = U[f,p] / D[p]""", partitions="{M: [M1, M0]}")  # fmt: skip
CAUSAL = text("causal", "M P F", "S:M,P V:F,M G:P N:M,P D:P A:M,P AV:F,P", "AV", """
    G[p] = S[m,p] :: max | m <= p
    N[m,p] = exp(S[m,p] - G[p]) | m <= p
    D[p] = N[m,p] | m <= p
    A[m,p] = N[m,p] / D[p] | m <= p
    AV[f,p] = A[m,p] * V[f,m] | m <= p""")  # fmt: skip
# Attention calibration: column sums decide which keys are sinks; a comparison stands in as relu.
ACT = text("act", "M P F",
    "S:M,P V:F,M G:P N:M,P D:P A:M,P C:M SK:M R:P X:P Z:M,P AV:F,P", "AV", """
    G[p] = S[m,p] :: max
    N[m,p] = exp(S[m,p] - G[p])
    D[p] = N[m,p]
    A[m,p] = N[m,p] / D[p]
    C[m] = A[m,p]
    SK[m] = relu(C[m] - 1)
    R[p] = A[m,p] * (1 - SK[m])
    X[p] = A[m,p] * SK[m]
    Z[m,p] = A[m,p] * SK[m] + A[m,p] * (1 - SK[m]) / R[p] * X[p]
    AV[f,p] = Z[m,p] * V[f,m]""")  # fmt: skip
SCAN_THEN_USE = text("scan_then_use", "I", "X:I Y:I Z:", "Z", """
    Y[i+1] = Y[i] + X[i]
    Z[] = Y[i+1] * X[i]""", initial="{Y: 0}")  # fmt: skip
PREFIX = text("prefix", "I", "X:I Y:I Z:", "Z", """
    Y[i] = X[k] | k <= i
    Z[] = Y[i] * X[i]""", variables="{k: I}")  # fmt: skip
SCAN_OVER_TOTAL = text("scan_over_total", "I", "X:I Y:I Z:I", "Z", """
    Y[i+1] = Y[i] + X[i]
    Z[i] = X[i] / Y[I]""", initial="{Y: 0}")  # fmt: skip
SUFFIX = text("suffix", "I", "X:I Y:I Z:", "Z", """
    Y[i] = Y[i+1] + X[i]
    Z[] = Y[i] * X[i]""", initial="{Y: 0}")  # fmt: skip
PREFIX_WITH_SUFFIX = text("prefix_suffix", "I", "X:I Y:I W:I Z:", "Z", """
    Y[i] = Y[i+1] + X[i]
    W[i+1] = W[i] + X[i]
    Z[] = Y[i] * W[i+1] * X[i]""", initial="{Y: 0, W: 0}")  # fmt: skip
MIXING = text("mixing", "I", "X:I W:I,I Y:I Z:", "Z", """
    Y[i] = W[i,k] * X[k]
    Z[] = Y[i] * X[i]""", variables="{k: I}")  # fmt: skip
RNN = text("rnn", "T I", "W:I,I H:T,I A:T,I Z:I", "Z", """
    A[t,i] = W[i,k] * H[t,k]
    H[t+1,i] = relu(A[t,i])
    Z[i] = H[T,i]""", variables="{k: I}", initial="{H: 1}")  # fmt: skip
EXAMPLE = text("fusemax_example", "K", "A:K B:K Y: Z:", "Z", """
    Y[] = A[k] * B[k]
    Z[] = Y[] * A[k]""")  # fmt: skip
EXAMPLE_DEFERRED = text("fusemax_example_deferred", "K", "A:K B:K Y: X: Z:", "Z", """
    Y[] = A[k] * B[k]
    X[] = A[k]
    Z[] = Y[] * X[]""")  # fmt: skip
TWO_TENSORS = text("two_tensors", "K", "A:K B:K Y: Z:", "Z", """
    Y[] = A[k]
    Z[] = Y[] * B[k]""")  # fmt: skip
HALO = text("halo", "I", "X:I Y:I", "Y", """
    Y[i] = X[i-1] + X[i] + X[i+2]""")  # fmt: skip
BROADCAST = text("broadcast", "K", "A:K B:K Y: Z:K", "Z", """
    Y[] = A[k]
    Z[k] = Y[] * B[k]""")  # fmt: skip
# The maximum of the tiles before this one: another fiber of M0, no pass over this one.
STALE = text(
    "stale",
    "M P",
    "S:M1,M0,P LM:M1,P RM:M1,P N:M1,M0,P D:P",
    "D",
    """
    LM[m1,p] = S[m1,m0,p] :: max
    RM[m1+1,p] = max(RM[m1,p], LM[m1,p])
    N[m1,m0,p] = exp(S[m1,m0,p] - RM[m1,p])
    D[p] = N[m1,m0,p]""",
    partitions="{M: [M1, M0]}",
    initial="{RM: 0}",
)

ALL = {name.lower(): value for name, value in list(globals().items()) if name.isupper()}
