"""Exact extrapolation of a loop: the parts of `steady` that work at the end of an iteration.

One iteration of a loop with a fixed structure maps the times of its state, x, to A(x), a max-plus
linear map: monotone, A(x + c) = A(x) + c, every component convex along a line. Hence two rules:

(U) x(n) = x(n-p) + D in all components: every later period repeats this one, D later.
(V) x(n) - x(n-p) = x(n-p) - x(n-2p) = d, any vector d, and one period run from x(n) + (K-1) d ends
    exactly at x(n) + K d: a convex function that meets a straight line at three points lies on it
    between them, so all K periods do. One probe proves a jump of any length.

The state at the end of an iteration of loop l: when each server is free, and every token that may
still be read in this run of l. A token that no longer exceeds the time at which its reader's server
is free cannot act: tokens are compared as they are or as max(token, free).

Numbers per component are kept in rows of `history`; columns of `levels` hold what each loop is at.
"""

from __future__ import annotations

from numba import njit

from accelsim.engine.jit import compiled_code
from accelsim.engine.kernel import (
    COORDINATE,
    COUNT,
    END,
    LAST_RUN,
    PROBES,
    PROBING,
    ROW_END,
    SERIAL,
    STEP,
    TILES,
    at,
    fires,
    remember,
)
from accelsim.engine.kernel import RUN as RUN_OF_ROW
from accelsim.engine.pack import NEVER, Int, Records

PERIODS = 4
"""Longest period looked for, in iterations."""
SNAPSHOTS = 2 * PERIODS + 1

# Columns of an edge row here: as in pack.py, with both ends.
# E_LAG, E_AHEAD: stage of the reader and of the writer. E_WITHIN: read only in the epoch in which
# it is written. E_KEPT: read in later runs of a loop.
E_BASE, E_LOOP, E_DISTANCE, E_MASK, E_SIZE, E_SERVER, E_LAG = range(7)
E_WRITER, E_AHEAD, E_WITHIN, E_KEPT, E_MATCHED = range(7, 12)
EDGE_ROW = 12

# Columns of `levels`. FROM, TO: coordinates between which iterations are alike. REACHED: first tile
# at FROM. RUN: first tile of this run. SETTLED: nothing from before the run can act any more.
FROM, TO, REACHED, RUN, SETTLED, SEEN, RESUME = range(7)
assert (PROBING, SERIAL) == (7, 13)
PROBE_END, PROBE_AT, JUMP, PERIOD, FAILURES = range(8, 13)
# Fixed by the structure: what makes the first and last iterations differ; sizes and places.
GUARD_FIRST, GUARD_LAST, COMPONENTS, HISTORY = range(14, 18)
# What happened: iterations run, iterations skipped, failed probes, period of the last jump,
# iterations before the first jump of a run (most), and boundaries without a jump, by reason.
RAN, SKIPPED, FAILED, LAST_PERIOD, TRANSIENT = range(18, 23)
SHORT, UNEVEN, UNSETTLED, NO_PERIOD = range(23, 27)
# How many spans the components of a loop lie in.
SPANS = 27
LEVEL_COLUMNS = 28

# Columns of a span: component S_AT and S_MANY - 1 more, of tokens that lie together from S_PLACE
# on, written for count S_TAG by tile S_FIRST or a later one, read by S_SERVER.
S_AT, S_MANY, S_PLACE, S_TAG, S_SERVER, S_FIRST = range(6)
SPAN = 6

LIMIT = 1 << 62


@compiled_code
def enter(level: int, made: int, levels: Int) -> None:
    """Begin a run of a loop at tile `made` - 1."""
    levels[level, RUN] = made - 1
    levels[level, SETTLED] = 0


@compiled_code
def window(level: int, state: Int, levels: Int, depends: Int, until: Int) -> None:
    """From and up to which coordinate, from the present one on, iterations of a loop are alike."""
    here = state[COORDINATE, level]
    stop = state[END, level]
    if state[RUN_OF_ROW, level] == state[LAST_RUN, level]:
        stop -= levels[level, GUARD_LAST]
    for k in range(depends.shape[0]):
        if depends[k, 0] == level:
            at = depends[k, 1]
            for outer in range(level + 1):
                at += depends[k, 2 + outer] * state[COORDINATE, outer]
            stop = min(stop, until[at])
    levels[level, FROM] = here + max(0, levels[level, GUARD_FIRST] - state[STEP, level])
    levels[level, TO] = stop
    levels[level, REACHED] = -1
    levels[level, SEEN] = 0
    levels[level, RESUME] = 0


@compiled_code
def settled(
    level: int,
    edges: Int,
    inner: Int,
    tokens: Records,
    stamps: Int,
    state: Int,
    free: Int,
    levels: Int,
) -> bool:
    """Whether no token from before this run, at a coordinate still to be read, can act any more.

    Looks at edges matched on the loop: their rings have a place per coordinate. A writer's ends
    grow with the coordinate, so the last token that an earlier run left tells of all before it.
    """
    here = state[COORDINATE, level]
    for k in range(edges.shape[0]):
        if not edges[k, E_MATCHED] >> level & 1:
            continue
        loop = edges[k, E_LOOP]
        count = (state[COUNT, loop] if loop >= 0 else 0) - edges[k, E_DISTANCE]
        base = edges[k, E_BASE] + (count & edges[k, E_MASK]) * edges[k, E_SIZE]
        base += outer_place(k, level, edges, inner, state)
        stride = inner[k, level]
        earliest = max(0, here + 1 - edges[k, E_LAG])
        for q in range(stride):
            for coordinate in range(state[ROW_END, level] - 1, earliest - 1, -1):
                place = base + coordinate * stride + q
                if tokens[place].tag == count and stamps[place] < levels[level, RUN]:
                    if tokens[place].value > free[edges[k, E_SERVER]]:
                        return False
                    break
    return True


@njit(inline="always")
def outer_place(k: int, level: int, edges: Int, inner: Int, state: Int) -> int:
    """Offset of the current coordinates of matched loops outside `level`."""
    offset = 0
    for outer in range(level):
        if edges[k, E_MATCHED] >> outer & 1:
            offset += state[COORDINATE, outer] * inner[k, outer]
    return offset


@compiled_code
def components(
    level: int,
    edges: Int,
    inner: Int,
    state: Int,
    levels: Int,
    spans: Int,
) -> None:
    """List the tokens in the state of a loop, always the same ones in the same order."""
    n = s = 0
    for k in range(edges.shape[0]):
        loop = edges[k, E_LOOP]
        count = state[COUNT, loop] if loop >= 0 else 0
        distance = edges[k, E_DISTANCE]
        base = edges[k, E_BASE] + outer_place(k, level, edges, inner, state)
        if edges[k, E_MATCHED] >> level & 1:
            # What this run wrote at the latest coordinates, for readers some tiles behind.
            if distance or edges[k, E_WITHIN]:
                continue
            stride = inner[k, level]
            ring = base + (count & edges[k, E_MASK]) * edges[k, E_SIZE]
            for back in range(edges[k, E_LAG]):
                coordinate = state[COORDINATE, level] - back
                spans[s, S_AT] = n
                spans[s, S_MANY] = stride
                spans[s, S_PLACE] = ring + max(coordinate, 0) * stride
                spans[s, S_TAG] = count if coordinate >= 0 else NEVER
                spans[s, S_SERVER] = edges[k, E_SERVER]
                spans[s, S_FIRST] = levels[level, RUN]
                n += stride
                s += 1
            continue
        ages, step = distance + edges[k, E_LAG], 1
        if edges[k, E_WITHIN]:
            ages = 0
        if loop < level:
            # Counts stand still in this run: the token read, and the one written for later.
            ages, step = distance + 1, max(1, distance)
        for age in range(0, ages, step):
            spans[s, S_AT] = n
            spans[s, S_MANY] = inner[k, level]
            spans[s, S_PLACE] = base + (count - age & edges[k, E_MASK]) * edges[k, E_SIZE]
            spans[s, S_TAG] = count - age
            spans[s, S_SERVER] = edges[k, E_SERVER]
            spans[s, S_FIRST] = -1
            n += inner[k, level]
            s += 1


def count_components(level: int, edges: Int, inner: Int) -> tuple[int, int]:
    """How many `components` will list, and in how many spans."""
    n = spans = 0
    for row, places in zip(edges.tolist(), inner[:, level].tolist(), strict=True):
        if row[E_MATCHED] >> level & 1:
            ages = 0 if row[E_DISTANCE] or row[E_WITHIN] else row[E_LAG]
        elif row[E_LOOP] < level:
            ages = 2 if row[E_DISTANCE] else 1
        else:
            ages = 0 if row[E_WITHIN] else row[E_DISTANCE] + row[E_LAG]
        n += ages * places
        spans += ages
    return n, spans


@njit(inline="always")
def token_at(place: int, tag: int, first: int, tokens: Records, stamps: Int) -> int:
    """The token at a place, NEVER if it is none of that count and of those tiles."""
    # Looked up once and without `and`: in one block of code numba drops the counting of references
    # to the arrays, which takes ten times as long as the look.
    token = tokens[at(place)]
    there = (token.tag == tag) & (stamps[at(place)] >= first)
    return token.value if there else NEVER


@compiled_code
def snapshot(
    row: Int,
    n: int,
    many: int,
    spans: Int,
    tokens: Records,
    stamps: Int,
    free: Int,
    used: Int,
    totals: Int,
) -> None:
    """Write tokens, free times of the servers used, and totals into a row of the history."""
    for s in range(many):
        place, tag, first = spans[s, S_PLACE], spans[s, S_TAG], spans[s, S_FIRST]
        begin = spans[s, S_AT]
        for q in range(spans[s, S_MANY]):
            row[begin + q] = token_at(place + q, tag, first, tokens, stamps)
    for s in range(used.shape[0]):
        row[n + s] = free[used[s]]
    at = n + used.shape[0]
    for i in range(totals.shape[0]):
        row[at + i] = totals[i]


@compiled_code
def repeats(n: int, many: int, now: Int, past: Int, spans: Int, used: Int, slot_of: Int) -> bool:
    """Rule (U): the state is that of `past`, all of it later by the same time."""
    shift = now[n] - past[n]
    for s in range(1, used.shape[0]):
        if now[n + s] - past[n + s] != shift:
            return False
    for s in range(many):
        slot = n + slot_of[spans[s, S_SERVER]]
        for i in range(spans[s, S_AT], spans[s, S_AT] + spans[s, S_MANY]):
            one, two = now[i], past[i]
            if one - two == shift and two != NEVER and one != NEVER:
                continue
            if max(one, now[slot]) - max(two, past[slot]) != shift:
                return False
    return True


@compiled_code
def on_a_line(
    n: int,
    many: int,
    now: Int,
    past: Int,
    older: Int,
    spans: Int,
    used: Int,
    slot_of: Int,
    point: Int,
    slope: Int,
    form: Int,
) -> bool:
    """First part of rule (V): three states on a line. Fills point, slope and form [N + S].

    form: 1 where a token is taken as max(token, free), 0 where as it is.
    """
    for s in range(used.shape[0]):
        one, two, three = now[n + s], past[n + s], older[n + s]
        if one - two != two - three:
            return False
        point[n + s], slope[n + s], form[n + s] = one, one - two, 0
    for s in range(many):
        slot = n + slot_of[spans[s, S_SERVER]]
        for i in range(spans[s, S_AT], spans[s, S_AT] + spans[s, S_MANY]):
            one, two, three = now[i], past[i], older[i]
            raw = one - two == two - three and one != NEVER and two != NEVER and three != NEVER
            none = one == NEVER and two == NEVER and three == NEVER
            if none or (raw and one > now[slot]):
                point[i], slope[i], form[i] = one, 0 if none else one - two, 0
                continue
            a, b, c = max(one, now[slot]), max(two, past[slot]), max(three, older[slot])
            if a - b == b - c:
                point[i], slope[i], form[i] = a, a - b, 1
            elif raw:
                point[i], slope[i], form[i] = one, one - two, 0
            else:
                return False
    return True


@compiled_code
def excess(
    n: int,
    many: int,
    jump: int,
    spans: Int,
    tokens: Records,
    stamps: Int,
    free: Int,
    used: Int,
    point: Int,
    slope: Int,
    form: Int,
) -> int:
    """Second part of (V): -1 if the state after the probe is on the line, else a shorter jump.

    Newton's step on a convex function: past its crossing a component grows by at most the largest
    slope, so it left its line at least excess / (largest - own slope) periods ago.
    """
    steepest = 0
    for i in range(n + used.shape[0]):
        steepest = max(steepest, slope[i])
    shorter = jump
    exact = True
    # The servers are a span of their own, behind those of tokens.
    for s in range(many + 1):
        begin = n if s == many else spans[s, S_AT]
        length = used.shape[0] if s == many else spans[s, S_MANY]
        for q in range(length):
            i = begin + q
            if s == many:
                value = free[used[q]]
            else:
                value = token_at(
                    spans[s, S_PLACE] + q, spans[s, S_TAG], spans[s, S_FIRST], tokens, stamps
                )
                if form[i]:
                    value = max(value, free[spans[s, S_SERVER]])
            if value == NEVER and point[i] == NEVER:
                continue
            over = value - (point[i] + jump * slope[i])
            if over == 0:
                continue
            exact = False
            if over > 0 and point[i] != NEVER and steepest > slope[i]:
                shorter = min(shorter, jump - -(-over // (steepest - slope[i])))
            else:
                shorter = min(shorter, jump // 2)
    return -1 if exact else max(shorter, 0)


@compiled_code
def move(level: int, by: int, made: int, deepest: int, tiles: Int, state: Int) -> None:
    """Advance the coordinate of a loop, here and in the tiles still in the pipeline."""
    depth = state.shape[1]
    state[COORDINATE, level] += by
    state[STEP, level] += by
    ring = tiles.shape[0] - 1
    for index in range(max(0, made - 1 - deepest), made):
        tiles[index & ring, depth + 1 + level] += by
        tiles[index & ring, 2 * depth + 1 + level] += by


@compiled_code
def fill(
    level: int,
    here: int,
    reached: int,
    period: int,
    periods: int,
    shift: int,
    tasks: Records,
    edges: Int,
    inner: Int,
    tokens: Records,
    stamps: Int,
    tiles: Int,
    state: Int,
    clock: Int,
    undo: Int,
    undone: Int,
    marks: Int,
    levels: Int,
) -> None:
    """Give skipped coordinates the tokens that later runs will read there.

    Continues, for `periods` periods, what had been written when the loop stood at `here`; it has
    now `reached` a coordinate. A stage behind has not yet worked on its last tiles: what it wrote
    last is looked for at each coordinate of inner loops. Each period adds `shift` if that is not
    NEVER, else the difference of the last two.
    """
    depth = state.shape[1]
    run = levels[level, RUN]
    for k in range(edges.shape[0]):
        if not edges[k, E_KEPT] or not edges[k, E_MATCHED] >> level & 1:
            continue
        loop = edges[k, E_LOOP]
        count = state[COUNT, loop] if loop >= 0 else 0
        stride = inner[k, level]
        base = edges[k, E_BASE] + (count & edges[k, E_MASK]) * edges[k, E_SIZE]
        base += outer_place(k, level, edges, inner, state)
        newest = here
        if edges[k, E_AHEAD]:
            row = clock[TILES] - edges[k, E_AHEAD] & tiles.shape[0] - 1
            newest = tiles[row, depth + 1 + level] - (reached - here)
        for q in range(stride):
            top = newest
            if edges[k, E_AHEAD] and to_come(
                k, q, level, newest + reached - here, tasks, edges, inner, tiles, clock
            ):
                top -= 1
            place = base + top * stride + q
            if tokens[place].tag != count or stamps[place] < run:
                continue
            for source in range(top - period + 1, top + 1):
                place = base + source * stride + q
                value = tokens[place].value
                grows = shift
                if shift == NEVER:
                    grows = value - tokens[place - period * stride].value
                for times in range(1, periods + 1):
                    target = place + times * period * stride
                    if clock[PROBES] > 0:
                        remember(tokens, stamps, target, undo, undone, marks, levels)
                    tokens[target].value = value + times * grows
                    tokens[target].tag = count
                    stamps[target] = stamps[place]


@compiled_code
def to_come(
    k: int,
    q: int,
    level: int,
    coordinate: int,
    tasks: Records,
    edges: Int,
    inner: Int,
    tiles: Int,
    clock: Int,
) -> bool:
    """Whether the writer of an edge, some tiles behind, is still to write a place of its ring."""
    depth = inner.shape[1]
    t = edges[k, E_WRITER]
    for index in range(clock[TILES] - edges[k, E_AHEAD], clock[TILES]):
        row = index & tiles.shape[0] - 1
        if tiles[row, depth + 1 + level] != coordinate:
            continue
        there = 0
        for loop in range(level + 1, depth):
            if edges[k, E_MATCHED] >> loop & 1:
                there += tiles[row, depth + 1 + loop] * inner[k, loop]
        if there == q and fires(tasks[t], tiles[row, 3 * depth + 1], tiles[row, 3 * depth + 2]):
            return True
    return False
