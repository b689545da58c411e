"""The compiled heart of the plant: one event after another, all requests of a run in plain arrays.

Prefill workers that take one prompt at a time are first-come-first-served
servers whose completions are known at arrival. All others are *batch* workers:
all sequences share the step, a virtual clock ``v`` counts steps, and between
events the number of sequences is constant while the KV cache grows by one token
each a step, so the time of k steps is a quadratic that is solved, not stepped
through. A step that carries prompt tokens (a *phase*) is an event of its own.
"""

from __future__ import annotations

import numpy as np
from numba import njit

compiled = njit(cache=True, _nrt=False)
"""Kept on disk between runs; nothing here allocates, so references need no counting (twice as fast).

A call passes ``State`` by value, some ninety words, which takes longer than most functions here: what happens to
every request is ``inlined`` (seven times as fast), what is rare is called.
"""
inlined = njit(cache=True, _nrt=False, forceinline=True)

# rows of ``State.hist``: bucket edges of each signal, and below them (+ SIGNALS) the counts
TTFT, ITL, ISL, OSL, DURATION, REQUEST_ITL = range(6)  # of the last one each worker counts its own
SIGNALS, BUCKETS = 6, 24
LIVE_ROWS = 2  # row of ``State.rows`` that lists batch workers that serve or drain; rows 0 and 1: who serves, by stage
# worker status
FREE, SERVING, DRAINING, GONE = range(4)
# columns of ``State.gi`` (counters and cursors of the whole plant)
ARRIVED, STARTED, FINISHED, FAILED, JOIN_COUNT, ROBIN_FIRST, ROBIN_SECOND, DOOR_FIRST, DOOR_FIRST_TAIL, DOOR_SECOND, \
    DOOR_SECOND_TAIL, DOOR_FIRST_COUNT, DOOR_SECOND_COUNT, PREEMPTIONS, RETRIED, LIVE, SERVING_FIRST, \
    SERVING_SECOND, SOONEST = range(19)  # fmt: skip
GI = 19
# columns of ``State.gf``
NOW, CACHED, GENERATED, TTFT_SUM, ITL_SUM, ISL_SUM, OSL_SUM, DURATION_SUM = range(8)
GF = 8
# columns of the parameter vector of the whole plant; what differs by pool is in the worker's own record
TRANSFER_BASE, TRANSFER_PER_TOKEN, ROUTER, OVERLAP, BLOCK, TIMEOUT, RETRIES, BACKOFF, MIGRATE, AGGREGATED = range(10)
PARAMETERS = 10
TABLE_TOKENS = 32
"""Grid of the prefill tables: a look-up instead of a search, linear in between."""
ROUND_ROBIN, LEAST_LOADED, KV_AWARE = range(3)
JOIN, CANCEL, RETRY = range(3)  # kinds of entries in the join heap
NOBODY = -1


@inlined
def _prefill_s(s, w, tokens, cached):
    """Seconds to prefill ``tokens`` of which the first ``cached`` are in the cache: T(L) − T(c) + T(0)."""
    whole = _table(s, w, tokens)
    if cached > 0:
        whole += s.table[s.wk[w].table] - _table(s, w, cached)
    return s.wk[w].prefill_scale * whole


@inlined
def _table(s, w, tokens):
    place = tokens / TABLE_TOKENS
    i, last, first = int(place), s.wk[w].table_last, s.wk[w].table
    if i >= last:
        beyond, end = (place - last) * TABLE_TOKENS, first + last
        slope = (s.table[end] - s.table[end - 1]) / TABLE_TOKENS
        return s.table[end] + beyond * (slope + s.wk[w].curvature * beyond)
    return s.table[first + i] + (s.table[first + i + 1] - s.table[first + i]) * (place - i)


# ---------------------------------------------------------------- heap of joins, by time


@inlined
def _push_join(s, at, request, kind):
    heap = s.joins
    i = s.gi[JOIN_COUNT]
    s.gi[JOIN_COUNT] = i + 1
    while i > 0:
        parent = (i - 1) >> 1
        if heap[parent].at <= at:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i].at = at
    heap[i].request = request
    heap[i].kind = kind


@inlined
def _pop_join(s):
    n = s.gi[JOIN_COUNT] - 1
    s.gi[JOIN_COUNT] = n
    _sink_join(s, 0, n, s.joins[n].at, s.joins[n].request, s.joins[n].kind)


@compiled
def _sink_join(s, i, n, at, request, kind):
    heap = s.joins
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and heap[child + 1].at < heap[child].at:
            child += 1
        if heap[child].at >= at:
            break
        heap[i] = heap[child]
        i = child
    heap[i].at = at
    heap[i].request = request
    heap[i].kind = kind


# ---------------------------------------------------------------- heap of finishes of one worker, by virtual clock


@inlined
def _push_sequence(s, w, finish_v, request, joined_v):
    heap = s.seq[w]
    i = s.wk[w].n
    s.wk[w].n = i + 1
    while i > 0:
        parent = (i - 1) >> 1
        if heap[parent].v <= finish_v:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i].v = finish_v
    heap[i].request = request
    heap[i].joined = joined_v


@inlined
def _remove_sequence(s, w, place):
    """Take the entry at ``place`` out of the worker's heap."""
    heap = s.seq[w]
    n = s.wk[w].n - 1
    s.wk[w].n = n
    if place == n:
        return
    last = heap[n].v
    i = place
    while True:  # down
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and heap[child + 1].v < heap[child].v:
            child += 1
        if heap[child].v >= last:
            break
        heap[i] = heap[child]
        i = child
    while i > 0:  # or up, when it was taken from the middle
        parent = (i - 1) >> 1
        if heap[parent].v <= last:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = heap[n]


# ---------------------------------------------------------------- queues (linked through ``State.following``)


@inlined
def _queue_back(s, w, request, tokens):
    s.req[request].following = NOBODY
    if s.wk[w].head == NOBODY:
        s.wk[w].head = request
    else:
        s.req[s.wk[w].tail].following = request
    s.wk[w].tail = request
    s.wk[w].waiting += 1
    s.wk[w].waiting_tokens += tokens


@inlined
def _queue_front(s, w, request, tokens):
    s.req[request].following = s.wk[w].head
    if s.wk[w].head == NOBODY:
        s.wk[w].tail = request
    s.wk[w].head = request
    s.wk[w].waiting += 1
    s.wk[w].waiting_tokens += tokens


@inlined
def _unqueue(s, w, tokens):
    request = s.wk[w].head
    s.wk[w].head = s.req[request].following
    if s.wk[w].head == NOBODY:
        s.wk[w].tail = NOBODY
    s.wk[w].waiting -= 1
    s.wk[w].waiting_tokens -= tokens
    return request


@inlined
def _door_back(s, head, tail, count, request):
    s.req[request].following = NOBODY
    if s.gi[head] == NOBODY:
        s.gi[head] = request
    else:
        s.req[s.gi[tail]].following = request
    s.gi[tail] = request
    s.gi[count] += 1


# ---------------------------------------------------------------- counting


@inlined
def _bucket(edges, value):
    i = 0
    while value > edges[i]:
        i += 1
    return i


@inlined
def _count_first_token(s, request, at):
    ttft = at - s.req[request].arrival
    s.req[request].ttft = ttft
    s.hist[TTFT + SIGNALS, _bucket(s.hist[TTFT], ttft)] += 1
    s.gf[TTFT_SUM] += ttft
    s.hist[ISL + SIGNALS, _bucket(s.hist[ISL], s.req[request].isl)] += 1
    s.gf[ISL_SUM] += s.req[request].isl
    s.gf[CACHED] += s.req[request].hit


@inlined
def _count_end(s, w, request, at):
    duration = at - s.req[request].arrival
    s.gi[FINISHED] += 1
    s.hist[OSL + SIGNALS, _bucket(s.hist[OSL], s.req[request].osl)] += 1
    s.gf[OSL_SUM] += s.req[request].osl
    s.hist[DURATION + SIGNALS, _bucket(s.hist[DURATION], duration)] += 1
    s.gf[DURATION_SUM] += duration
    itl = 0.0
    if s.req[request].osl > 1:
        itl = (duration - s.req[request].ttft) / (s.req[request].osl - 1)
    s.req[request].itl = itl
    s.wk[w].answers[_bucket(s.hist[REQUEST_ITL], itl)] += 1.0
    s.wk[w].answers_s += itl


@compiled
def _lose(s, request):
    """The request ends without an answer: missed on every promise."""
    s.req[request].ttft = np.nan
    s.req[request].itl = np.nan
    s.gi[FINISHED] += 1
    s.gi[FAILED] += 1


# ---------------------------------------------------------------- batch workers


@inlined
def _step_s(s, w):
    """Seconds of the next step of worker ``w`` as it is now."""
    n = s.wk[w].n
    extra = s.wk[w].extra
    if n == 0:
        return extra
    return s.wk[w].decode_scale * (s.wk[w].base + s.wk[w].per_sequence * n + s.wk[w].per_token * s.wk[w].kv) + extra


@inlined
def _sync(s, w, at):
    """Let worker ``w`` step on to ``at``; nothing joins or leaves on the way."""
    elapsed = at - s.wk[w].t
    s.wk[w].t = at
    n = s.wk[w].n
    if elapsed <= 0.0 or (n == 0 and s.wk[w].phase_count == 0):
        return
    first = _step_s(s, w)
    growth = s.wk[w].decode_scale * s.wk[w].per_token * n
    steps = 2.0 * elapsed / (first + np.sqrt(first * first + 2.0 * growth * elapsed))
    _stepped(s, w, steps, elapsed)


@inlined
def _stepped(s, w, steps, elapsed):
    n = s.wk[w].n
    s.wk[w].v += steps
    s.wk[w].kv += n * steps
    if n > 0:
        paid = min(s.wk[w].debt, n * steps)
        s.wk[w].debt -= paid
        gaps = n * steps - paid
        if gaps > 0.0:
            mean = elapsed / steps
            i = _bucket(s.hist[ITL], mean)
            s.hist[ITL + SIGNALS, i] += gaps
            s.gf[ITL_SUM] += gaps * mean
            s.wk[w].gaps[i] += gaps
            s.wk[w].gaps_s += gaps * mean
        s.gf[GENERATED] += gaps


@inlined
def _set_due(s, w, at):
    """The next event of worker ``w``: is it the soonest of all, or no longer?"""
    s.due[w] = at
    who = s.gi[SOONEST]
    if w == who:
        s.gi[SOONEST] = NOBODY
    elif who != NOBODY and at < s.due[who]:
        s.gi[SOONEST] = w


@inlined
def _plan(s, w):
    """When the next event of worker ``w`` is due."""
    n, phase = s.wk[w].n, s.wk[w].phase_count
    s.load[w] = float(n + s.wk[w].waiting + phase) + 1e-9 * (s.wk[w].held + s.wk[w].waiting_tokens)
    if n == 0 and phase == 0:
        _set_due(s, w, np.inf)
        return
    target = np.inf
    if n > 0:
        target = s.seq[w, 0].v
        target = min(target, s.wk[w].v + max(0.0, (s.wk[w].capacity - s.wk[w].reserved - s.wk[w].kv) / n))
    target = min(target, s.wk[w].phase_end)
    steps = max(0.0, target - s.wk[w].v)
    growth = s.wk[w].decode_scale * s.wk[w].per_token * n
    _set_due(s, w, s.wk[w].t + steps * (_step_s(s, w) + 0.5 * growth * steps))


@inlined
def _boundary(v):
    """The next whole step; what rounding put a hair above one is that one."""
    return np.ceil(v - 1e-6)


@inlined
def _context(s, request):
    return s.req[request].isl + s.req[request].produced


@inlined
def _fits(s, p, w, at):
    """Is there a request at the head of the queue, and room for it? Who never fits or gave up is dropped."""
    while s.wk[w].waiting > 0:
        request = s.wk[w].head
        context = _context(s, request)
        if context + 1 > s.wk[w].capacity:
            _unqueue(s, w, context)
            _lose(s, request)
            continue
        if (
            p[TIMEOUT] > 0
            and s.req[request].produced == 0
            and at - s.req[request].arrival > p[TIMEOUT]
            and s.req[request].need >= 0
        ):
            _unqueue(s, w, context)
            _give_up(s, p, request, at)
            continue
        room = s.wk[w].kv + s.wk[w].reserved + context + 1 <= s.wk[w].capacity
        return room and s.wk[w].n + s.wk[w].phase_count < s.wk[w].max_sequences
    return False


@inlined
def _admit(s, p, w, at):
    """Let waiting requests in while there is room: straight into decode, or through prefill."""
    prompts = s.wk[w].phase_count > 0 or (_fits(s, p, w, at) and s.req[s.wk[w].head].need > 0)
    if prompts and s.wk[w].phase_end == np.inf:
        _open_phase(s, p, w, at)
    while _fits(s, p, w, at) and s.req[s.wk[w].head].need <= 0:
        request = s.wk[w].head
        _unqueue(s, w, _context(s, request))
        _join(s, p, w, request, at)


@inlined
def _open_phase(s, p, w, at):
    """Prompts are taken when a step starts: now, or when the step under way is over."""
    boundary = _boundary(s.wk[w].v)
    if s.wk[w].n > 0 and boundary > s.wk[w].v + 1e-6:
        s.wk[w].phase_end = boundary
    else:
        s.wk[w].v = boundary
        _begin_phase(s, p, w, at)


@inlined
def _join(s, p, w, request, at):
    """A prefilled request joins the batch at the next step; its first token comes one step later."""
    if s.wk[w].n == 0 and s.wk[w].phase_count == 0:
        s.wk[w].v = _boundary(s.wk[w].v)  # an idle worker starts its step at once
    v = s.wk[w].v
    boundary = _boundary(v)
    s.wk[w].kv += _context(s, request)
    s.wk[w].held += _context(s, request)
    _push_sequence(s, w, boundary + s.req[request].osl - s.req[request].produced, request, v)
    s.wk[w].debt += boundary - v + 1.0
    s.gf[GENERATED] += 1.0
    if s.req[request].produced == 0:
        _count_first_token(s, request, at + (boundary + 1.0 - v) * _step_s(s, w))


@compiled
def _begin_phase(s, p, w, at):
    """A step with prompt tokens: what the last one left unfinished, then waiting prompts, the last one cut short.

    Tokens of decoding sequences count towards what a step takes, as in vLLM. What prefill takes beyond its
    tokens is paid once a step when prompts are taken ``TOGETHER``, else once a prompt.
    """
    fixed = s.wk[w].prefill_scale * s.table[s.wk[w].table]
    room, starts, seconds = max(1.0, s.wk[w].chunk - s.wk[w].n), 0, 0.0
    if s.wk[w].phase_count > 0:
        taken = min(room, s.req[s.wk[w].phase_head].need)
        seconds += _chunk_s(s, w, s.wk[w].phase_head, taken)
        room -= taken
    while room > 0 and _fits(s, p, w, at) and s.req[s.wk[w].head].need > 0:
        request = s.wk[w].head
        context = _context(s, request)
        _unqueue(s, w, context)
        s.req[request].following = s.wk[w].phase_head
        s.wk[w].phase_head = request
        s.wk[w].phase_count += 1
        s.wk[w].reserved += context
        taken = min(room, s.req[request].need)
        seconds += _chunk_s(s, w, request, taken)
        room -= taken
        starts += 1
    if s.wk[w].phase_count == 0:
        s.wk[w].phase_end = np.inf
        return
    s.wk[w].phase_end = s.wk[w].v + 1.0
    s.wk[w].extra = seconds + fixed * (1 if s.wk[w].together > 0 else starts)


@inlined
def _chunk_s(s, w, request, taken):
    """Seconds that the next ``taken`` tokens of a prompt add to a step; they count as done from here on."""
    done = _context(s, request) - s.req[request].need
    s.req[request].need -= int(taken)
    return s.wk[w].prefill_scale * (_table(s, w, done + taken) - _table(s, w, done))


@compiled
def _end_phase(s, p, w, at):
    """The step is over: prompts that are done have their first token, or are handed on to decode."""
    request = s.wk[w].phase_head
    s.wk[w].phase_head, s.wk[w].phase_count, s.wk[w].phase_end = NOBODY, 0, np.inf
    s.wk[w].extra = 0.0
    s.wk[w].v = _boundary(s.wk[w].v)
    if request != NOBODY and s.req[request].need > 0:  # only the one that was taken last
        after = s.req[request].following
        s.req[request].following = NOBODY
        s.wk[w].phase_head, s.wk[w].phase_count = request, 1
        request = after
    while request != NOBODY:
        after = s.req[request].following
        s.wk[w].reserved -= _context(s, request)
        if _is_prefill(s, p, w):
            moved = p[TRANSFER_BASE] + p[TRANSFER_PER_TOKEN] * s.req[request].isl
            s.req[request].at_prefill = w
            _push_join(s, at + moved, request, JOIN)
        else:
            _prefilled(s, w, request, at)
        request = after


@inlined
def _is_prefill(s, p, w):
    return p[AGGREGATED] == 0 and s.wk[w].stage == 0


@compiled
def _prefilled(s, w, request, at):
    """A prompt has its first token and decodes from here on; a recomputed one goes on where it was."""
    v = s.wk[w].v
    if s.req[request].produced == 0:
        _count_first_token(s, request, at)
        s.gf[GENERATED] += 1.0
        if s.req[request].osl <= 1:
            _count_end(s, w, request, at)
            return
        _push_sequence(s, w, v + s.req[request].osl - 1, request, v)
    else:
        _push_sequence(s, w, v + s.req[request].osl - s.req[request].produced, request, v)
    s.wk[w].kv += _context(s, request)
    s.wk[w].held += _context(s, request)


@compiled
def _preempt(s, w):
    """The KV cache is full: the sequence that joined last gives its place up and is recomputed later."""
    heap, place = s.seq[w], 0
    for i in range(1, s.wk[w].n):
        if heap[i].joined > heap[place].joined:
            place = i
    request = s.seq[w, place].request
    grown = s.wk[w].v - heap[place].joined
    s.wk[w].kv -= _context(s, request) + grown
    s.wk[w].held -= _context(s, request)
    _remove_sequence(s, w, place)
    if s.wk[w].n == 0:
        s.wk[w].kv = 0.0  # not what rounding left of it
    s.gi[PREEMPTIONS] += 1
    s.req[request].produced = min(s.req[request].osl - 1, s.req[request].produced + max(1, int(grown)))
    s.req[request].need = _context(s, request)
    _queue_front(s, w, request, s.req[request].need)


@inlined
def _batch_event(s, p, w, at):
    """Handle whatever is due at worker ``w``: finishes, the end of a chunk, a full cache."""
    elapsed = at - s.wk[w].t
    n = s.wk[w].n
    target = np.inf
    full = False
    if n > 0:
        target = s.seq[w, 0].v
        fills = s.wk[w].v + max(0.0, (s.wk[w].capacity - s.wk[w].reserved - s.wk[w].kv) / n)
        full = fills < target
        target = min(target, fills)
    if s.wk[w].phase_end < target:
        target, full = s.wk[w].phase_end, False
    steps = max(0.0, target - s.wk[w].v)
    if steps > 0 and elapsed > 0:
        _stepped(s, w, steps, elapsed)
    s.wk[w].v, s.wk[w].t = target, at
    while s.wk[w].n > 0 and s.seq[w, 0].v <= s.wk[w].v + 1e-9:
        request, joined = s.seq[w, 0].request, s.seq[w, 0].joined
        s.wk[w].kv -= _context(s, request) + s.seq[w, 0].v - joined
        s.wk[w].held -= _context(s, request)
        _remove_sequence(s, w, 0)
        _count_end(s, w, request, at)
    if s.wk[w].n == 0:
        s.wk[w].kv, s.wk[w].debt = 0.0, 0.0
    if s.wk[w].phase_end <= s.wk[w].v + 1e-9:
        _end_phase(s, p, w, at)
    if full and s.wk[w].n > 0:
        _preempt(s, w)
    _admit(s, p, w, at)
    _plan(s, w)
    if s.wk[w].status == DRAINING:
        _end_if_done(s, w, at)


@inlined
def _end_if_done(s, w, at):
    if s.wk[w].n == 0 and s.wk[w].waiting == 0 and s.wk[w].phase_count == 0:
        s.wk[w].status = GONE
        s.wk[w].ended = at


# ---------------------------------------------------------------- prefix cache


@compiled
def _hit_tokens(s, p, w, request):
    """Prompt tokens of ``request`` that worker ``w`` has cached; the last token is always computed."""
    if s.wk[w].cache_blocks <= 0:
        return 0
    found = 0
    for i in range(s.block_starts[request], s.block_starts[request + 1]):
        if s.cached_stamp[w, s.block_ids[i]] == 0:
            break
        found += 1
    return min(int(found * p[BLOCK]), s.req[request].isl - 1)


@compiled
def _remember_blocks(s, w, request):
    """Touch the request's blocks in the worker's cache; the least recently used make room."""
    if s.wk[w].cache_blocks <= 0:
        return
    size = s.cache_queue.shape[1]
    for i in range(s.block_starts[request], s.block_starts[request + 1]):
        block = s.block_ids[i]
        if s.cached_stamp[w, block] == 0:
            s.wk[w].cache_used += 1
        s.wk[w].stamp += 1
        s.cached_stamp[w, block] = s.wk[w].stamp
        if s.wk[w].q_count == size:
            _compact(s, w)
        place = (s.wk[w].q_head + s.wk[w].q_count) % size
        s.cache_queue[w, place, 0], s.cache_queue[w, place, 1] = block, s.wk[w].stamp
        s.wk[w].q_count += 1
        while s.wk[w].cache_used > s.wk[w].cache_blocks:
            block, stamp = s.cache_queue[w, s.wk[w].q_head, 0], s.cache_queue[w, s.wk[w].q_head, 1]
            s.wk[w].q_head = (s.wk[w].q_head + 1) % size
            s.wk[w].q_count -= 1
            if s.cached_stamp[w, block] == stamp:
                s.cached_stamp[w, block] = 0
                s.wk[w].cache_used -= 1


@compiled
def _compact(s, w):
    """Drop entries of blocks that were touched again later: they are not the least recently used."""
    size, kept, head = s.cache_queue.shape[1], 0, s.wk[w].q_head
    for i in range(s.wk[w].q_count):
        block, stamp = s.cache_queue[w, (head + i) % size, 0], s.cache_queue[w, (head + i) % size, 1]
        if s.cached_stamp[w, block] == stamp:
            s.cache_queue[w, (head + kept) % size, 0], s.cache_queue[w, (head + kept) % size, 1] = block, stamp
            kept += 1
    s.wk[w].q_count = kept


# ---------------------------------------------------------------- routing


@inlined
def _pick_prefill(s, p, request, at):
    """The prefill worker for a request, or ``NOBODY``."""
    count = s.gi[SERVING_FIRST]
    if count == 0:
        return NOBODY
    if p[ROUTER] == ROUND_ROBIN:
        s.gi[ROBIN_FIRST] += 1
        return s.rows[0, s.gi[ROBIN_FIRST] % count]
    best, least = NOBODY, np.inf
    for k in range(count):
        w = s.rows[0, k]
        work = float(s.wk[w].waiting_tokens + s.wk[w].reserved)
        if s.wk[w].together == 0:
            work = max(0.0, s.free_at[w] - at) / s.wk[w].per_prompt_token
        if p[ROUTER] == KV_AWARE:
            work += s.req[request].isl - _hit_tokens(s, p, w, request)
            work *= s.wk[w].prompt_weight
        if work < least:
            best, least = w, work
    return best


@inlined
def _pick_batch(s, p, stage, request):
    """The batch worker for a request, or ``NOBODY``."""
    count = s.gi[SERVING_FIRST + stage]
    if count == 0:
        return NOBODY
    if p[ROUTER] == ROUND_ROBIN:
        s.gi[ROBIN_SECOND] += 1
        return s.rows[stage, s.gi[ROBIN_SECOND] % count]
    best, least = NOBODY, np.inf
    for k in range(count):
        w = s.rows[stage, k]
        if p[ROUTER] == KV_AWARE:
            pending = s.wk[w].waiting_tokens + s.wk[w].reserved
            cost = s.wk[w].kv_weight * (s.wk[w].held + pending)  # blocks it was given
            if p[AGGREGATED] > 0:
                prompts = s.req[request].isl - _hit_tokens(s, p, w, request) + pending
                cost += p[OVERLAP] * s.wk[w].prompt_weight * prompts
        else:
            cost = s.load[w]
        if cost < least:
            best, least = w, cost
    return best


# ---------------------------------------------------------------- requests on their way


@inlined
def _arrive(s, p, request, at):
    if p[AGGREGATED] > 0:
        _to_batch(s, p, request, at, 0)
        return
    w = _pick_prefill(s, p, request, at)
    if w == NOBODY:
        _door_back(s, DOOR_FIRST, DOOR_FIRST_TAIL, DOOR_FIRST_COUNT, request)
        return
    if s.wk[w].together > 0:
        _hand_over(s, p, w, request, at)
        return
    start = max(at, s.free_at[w])
    s.req[request].hit = _hit_tokens(s, p, w, request)
    service = _prefill_s(s, w, s.req[request].isl, s.req[request].hit)
    moved = p[TRANSFER_BASE] + p[TRANSFER_PER_TOKEN] * s.req[request].isl
    gives_up = s.req[request].arrival + p[TIMEOUT]
    if p[TIMEOUT] > 0 and start + service + moved > gives_up:
        s.free_at[w] = max(s.free_at[w], gives_up) if start < gives_up else s.free_at[w]  # cut short
        _push_join(s, max(at, gives_up), request, CANCEL)
        return
    _remember_blocks(s, w, request)
    s.free_at[w] = start + service
    s.req[request].at_prefill = w
    s.req[request].service = service
    _push_join(s, start + service + moved, request, JOIN)


@inlined
def _to_batch(s, p, request, at, stage):
    """Hand a request to a worker that decodes: after its prefill, or as a whole in aggregated mode."""
    w = _pick_batch(s, p, stage, request)
    if w == NOBODY:
        _door_back(s, DOOR_SECOND, DOOR_SECOND_TAIL, DOOR_SECOND_COUNT, request)
        return
    _hand_over(s, p, w, request, at)


@inlined
def _hand_over(s, p, w, request, at):
    """Put a request into the queue of batch worker ``w``."""
    if (p[AGGREGATED] > 0 or _is_prefill(s, p, w)) and s.req[request].produced == 0:
        s.req[request].hit = _hit_tokens(s, p, w, request)
        s.req[request].need = s.req[request].isl - s.req[request].hit
        _remember_blocks(s, w, request)
    _sync(s, w, at)
    _queue_back(s, w, request, _context(s, request))
    _admit(s, p, w, at)
    _plan(s, w)


@compiled
def _give_up(s, p, request, at):
    """The client's patience is over: missed, or tried again after the back-off."""
    if s.req[request].tries < p[RETRIES]:
        s.req[request].tries += 1
        s.gi[RETRIED] += 1
        _push_join(s, at + p[BACKOFF] * 2.0 ** (s.req[request].tries - 1), request, RETRY)
    else:
        _lose(s, request)


@inlined
def _due_join(s, p, second):
    """Handle the earliest entry of the join heap."""
    at, request, kind = s.joins[0].at, s.joins[0].request, s.joins[0].kind
    _pop_join(s)
    s.gf[NOW] = at
    if kind == JOIN:
        _to_batch(s, p, request, at, second)
    elif kind == CANCEL:
        _give_up(s, p, request, at)
    else:
        s.req[request].arrival = at if p[RETRIES] > 0 else s.req[request].arrival
        _arrive(s, p, request, at)


@inlined
def _find_soonest(s):
    """Look through all batch workers for the next event; without any, some row that has none."""
    who, soonest = 0, np.inf
    for k in range(s.gi[LIVE]):
        w = s.rows[LIVE_ROWS, k]
        if s.due[w] < soonest:
            soonest, who = s.due[w], w
    s.gi[SOONEST] = who


@compiled
def run_until(s, p, until):
    """Advance the plant to ``until``; ``False`` when the join heap is full and must grow first."""
    n = len(s.req)
    s.gi[SOONEST] = NOBODY
    second = 0 if p[AGGREGATED] > 0 else 1
    while True:
        if s.gi[SOONEST] == NOBODY:
            _find_soonest(s)
        who = s.gi[SOONEST]  # most events leave it as it is
        soonest = s.due[who]
        joins = s.joins[0].at if s.gi[JOIN_COUNT] > 0 else np.inf
        arrives = s.req[s.gi[ARRIVED]].arrival if s.gi[ARRIVED] < n else np.inf
        if min(soonest, min(joins, arrives)) > until:
            break
        if soonest <= joins and soonest <= arrives:
            if s.gi[JOIN_COUNT] + s.wk[who].waiting + s.wk[who].phase_count + 2 >= len(s.joins):
                return False
            s.gf[NOW] = max(s.gf[NOW], soonest)
            _batch_event(s, p, who, soonest)
        elif joins <= arrives:
            _due_join(s, p, second)
        else:
            if s.gi[JOIN_COUNT] + 2 >= len(s.joins):
                return False
            request = s.gi[ARRIVED]
            s.gi[ARRIVED] += 1
            s.gi[STARTED] += 1
            s.gf[NOW] = arrives
            _arrive(s, p, request, arrives)
    s.gf[NOW] = max(s.gf[NOW], until)
    for k in range(s.gi[LIVE]):
        w = s.rows[LIVE_ROWS, k]
        _sync(s, w, until)
        _plan(s, w)
    return True


# ---------------------------------------------------------------- workers coming and going


@compiled
def open_door(s, p, second):
    """Hand out what waited at the door for a first worker."""
    request = s.gi[DOOR_FIRST]
    if s.gi[SERVING_FIRST] > 0 and p[AGGREGATED] == 0:
        s.gi[DOOR_FIRST], s.gi[DOOR_FIRST_TAIL], s.gi[DOOR_FIRST_COUNT] = NOBODY, NOBODY, 0
        while request != NOBODY:
            after = s.req[request].following
            _arrive(s, p, request, s.gf[NOW])
            request = after
    if s.gi[SERVING_FIRST + second] > 0:
        request = s.gi[DOOR_SECOND]
        s.gi[DOOR_SECOND], s.gi[DOOR_SECOND_TAIL], s.gi[DOOR_SECOND_COUNT] = NOBODY, NOBODY, 0
        while request != NOBODY:
            after = s.req[request].following
            _to_batch(s, p, request, s.gf[NOW], second)
            request = after


@compiled
def drain_batch(s, w):
    """Nothing new for this worker; gone at once when it has nothing to do."""
    s.wk[w].status = DRAINING
    _end_if_done(s, w, s.gf[NOW])


@compiled
def kill_prefill(s, p, w):
    """A prefill worker dies: what it had not finished is lost, or goes back to the door."""
    at, kept, victim = s.gf[NOW], 0, NOBODY
    for i in range(s.gi[JOIN_COUNT]):
        request = s.joins[i].request
        moved = p[TRANSFER_BASE] + p[TRANSFER_PER_TOKEN] * s.req[request].isl
        if s.joins[i].kind == JOIN and s.req[request].at_prefill == w and s.joins[i].at - moved > at:
            s.req[request].following = victim
            victim = request
        else:
            s.joins[kept] = s.joins[i]
            kept += 1
    s.gi[JOIN_COUNT] = kept
    for i in range(kept // 2 - 1, -1, -1):
        _sink_join(s, i, kept, s.joins[i].at, s.joins[i].request, s.joins[i].kind)
    while victim != NOBODY:
        after = s.req[victim].following
        if p[MIGRATE] > 0:
            _arrive(s, p, victim, at)
        else:
            _lose(s, victim)
        victim = after


@compiled
def kill_batch(s, p, w, second):
    """A batch worker dies: its sequences are lost, or recomputed by others from what they had said."""
    at = s.gf[NOW]
    _sync(s, w, at)
    while s.wk[w].n > 0:
        request, joined = s.seq[w, 0].request, s.seq[w, 0].joined
        s.req[request].produced = min(s.req[request].osl - 1, s.req[request].produced + max(1, int(s.wk[w].v - joined)))
        _remove_sequence(s, w, 0)
        _orphan(s, p, w, request, at, second)
    request = s.wk[w].phase_head
    s.wk[w].phase_head, s.wk[w].phase_count, s.wk[w].phase_end = NOBODY, 0, np.inf
    while request != NOBODY:
        after = s.req[request].following
        _orphan(s, p, w, request, at, second)
        request = after
    while s.wk[w].waiting > 0:
        request = s.wk[w].head
        _orphan(s, p, w, _unqueue(s, w, _context(s, request)), at, second)
    s.wk[w].kv, s.wk[w].held, s.wk[w].reserved, s.wk[w].extra, s.due[w] = 0.0, 0, 0.0, 0.0, np.inf


@compiled
def _orphan(s, p, w, request, at, second):
    if p[MIGRATE] <= 0:
        _lose(s, request)
        return
    if _is_prefill(s, p, w):
        _arrive(s, p, request, at)
        return
    s.req[request].need = _context(s, request)
    _to_batch(s, p, request, at, second)


@compiled
def prefill_gauges(s, p, running, waiting, tokens):
    """Requests being prefilled and waiting, and their prompt tokens, by worker row."""
    at = s.gf[NOW]
    for i in range(s.gi[JOIN_COUNT]):
        if s.joins[i].kind != JOIN:
            continue
        request = s.joins[i].request
        done = s.joins[i].at - p[TRANSFER_BASE] - p[TRANSFER_PER_TOKEN] * s.req[request].isl
        if done > at:
            w = s.req[request].at_prefill
            tokens[w] += s.req[request].isl - s.req[request].hit
            if done - s.req[request].service <= at:
                running[w] += 1
            else:
                waiting[w] += 1
