"""The compiled heart of the plant: one event after another, all requests of a run in plain arrays.

Prefill workers are first-come-first-served servers whose completions are known
at arrival. Decode and aggregated workers are *batch* workers: all sequences
share the step, a virtual clock ``v`` counts steps, and between events the
number of sequences is constant while the KV cache grows by one token each a
step, so the time of k steps is a quadratic that is solved, not stepped through.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# columns of ``State.wf`` (floats of a worker row)
V, T, KV, RESERVED, PHASE_END, EXTRA, FREE_AT, ENDED, DEBT, NEXT, CACHE_USED = range(11)
WF = 11
# columns of ``State.wi`` (integers of a worker row)
STATUS, N, HEAD, TAIL, WAITING, WAITING_TOKENS, PHASE_HEAD, PHASE_COUNT, Q_HEAD, Q_COUNT, STAMP, POOL = range(12)
WI = 12
# worker status
FREE, SERVING, DRAINING, GONE = range(4)
# columns of ``State.gi`` (counters and cursors of the whole plant)
ARRIVED, STARTED, FINISHED, FAILED, JOIN_COUNT, ROBIN_FIRST, ROBIN_SECOND, DOOR_FIRST, DOOR_FIRST_TAIL, DOOR_SECOND, \
    DOOR_SECOND_TAIL, DOOR_FIRST_COUNT, DOOR_SECOND_COUNT, PREEMPTIONS, RETRIED = range(15)  # fmt: skip
GI = 15
# columns of ``State.gf``
NOW, CACHED, GENERATED, TTFT_SUM, ITL_SUM, ISL_SUM, OSL_SUM, DURATION_SUM = range(8)
GF = 8
# columns of the parameter vector
BASE, PER_SEQUENCE, PER_TOKEN, DECODE_SCALE, KV_CAPACITY, MAX_SEQUENCES, TRANSFER_BASE, TRANSFER_PER_TOKEN, CHUNK, \
    PREFILL_SCALE, TABLE_STEP, QUADRATIC, ROUTER, OVERLAP, BLOCK, CACHE_BLOCKS, TIMEOUT, RETRIES, BACKOFF, MIGRATE, \
    AGGREGATED, PER_PROMPT_TOKEN = range(22)  # fmt: skip
PARAMETERS = 22
ROUND_ROBIN, LEAST_LOADED, KV_AWARE = range(3)
JOIN, CANCEL, RETRY = range(3)  # kinds of entries in the join heap
NOBODY = -1


@njit(cache=True)
def prefill_s(p, table, tokens, cached):
    """Seconds to prefill ``tokens`` of which the first ``cached`` are in the cache: T(L) − T(c) + T(0)."""
    whole = _table(p, table, tokens)
    if cached > 0:
        whole += table[0] - _table(p, table, cached)
    return p[PREFILL_SCALE] * whole


@njit(cache=True)
def _table(p, table, tokens):
    place = tokens / p[TABLE_STEP]
    i = int(place)
    last = len(table) - 1
    if i >= last:
        beyond = (place - last) * p[TABLE_STEP]
        slope = (table[last] - table[last - 1]) / p[TABLE_STEP]
        return table[last] + beyond * (slope + p[QUADRATIC] * beyond)
    return table[i] + (table[i + 1] - table[i]) * (place - i)


# ---------------------------------------------------------------- heap of joins, by time


@njit(cache=True)
def _push_join(s, at, request, kind):
    i = s.gi[JOIN_COUNT]
    s.gi[JOIN_COUNT] = i + 1
    while i > 0:
        parent = (i - 1) >> 1
        if s.join_at[parent] <= at:
            break
        s.join_at[i], s.join_request[i], s.join_kind[i] = s.join_at[parent], s.join_request[parent], s.join_kind[parent]
        i = parent
    s.join_at[i], s.join_request[i], s.join_kind[i] = at, request, kind


@njit(cache=True)
def _pop_join(s):
    n = s.gi[JOIN_COUNT] - 1
    s.gi[JOIN_COUNT] = n
    _sink_join(s, 0, n, s.join_at[n], s.join_request[n], s.join_kind[n])


@njit(cache=True)
def _sink_join(s, i, n, at, request, kind):
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and s.join_at[child + 1] < s.join_at[child]:
            child += 1
        if s.join_at[child] >= at:
            break
        s.join_at[i], s.join_request[i], s.join_kind[i] = s.join_at[child], s.join_request[child], s.join_kind[child]
        i = child
    s.join_at[i], s.join_request[i], s.join_kind[i] = at, request, kind


# ---------------------------------------------------------------- heap of finishes of one worker, by virtual clock


@njit(cache=True)
def _push_sequence(s, w, finish_v, request, joined_v):
    v, r, j = s.seq_v[w], s.seq_request[w], s.seq_joined[w]
    i = s.wi[w, N]
    s.wi[w, N] = i + 1
    while i > 0:
        parent = (i - 1) >> 1
        if v[parent] <= finish_v:
            break
        v[i], r[i], j[i] = v[parent], r[parent], j[parent]
        i = parent
    v[i], r[i], j[i] = finish_v, request, joined_v


@njit(cache=True)
def _remove_sequence(s, w, place):
    """Take the entry at ``place`` out of the worker's heap."""
    v, r, j = s.seq_v[w], s.seq_request[w], s.seq_joined[w]
    n = s.wi[w, N] - 1
    s.wi[w, N] = n
    if place == n:
        return
    last_v, last_r, last_j = v[n], r[n], j[n]
    i = place
    while True:  # down
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and v[child + 1] < v[child]:
            child += 1
        if v[child] >= last_v:
            break
        v[i], r[i], j[i] = v[child], r[child], j[child]
        i = child
    while i > 0:  # or up, when it was taken from the middle
        parent = (i - 1) >> 1
        if v[parent] <= last_v:
            break
        v[i], r[i], j[i] = v[parent], r[parent], j[parent]
        i = parent
    v[i], r[i], j[i] = last_v, last_r, last_j


# ---------------------------------------------------------------- queues (linked through ``State.following``)


@njit(cache=True)
def _queue_back(s, w, request, tokens):
    s.following[request] = NOBODY
    if s.wi[w, HEAD] == NOBODY:
        s.wi[w, HEAD] = request
    else:
        s.following[s.wi[w, TAIL]] = request
    s.wi[w, TAIL] = request
    s.wi[w, WAITING] += 1
    s.wi[w, WAITING_TOKENS] += tokens


@njit(cache=True)
def _queue_front(s, w, request, tokens):
    s.following[request] = s.wi[w, HEAD]
    if s.wi[w, HEAD] == NOBODY:
        s.wi[w, TAIL] = request
    s.wi[w, HEAD] = request
    s.wi[w, WAITING] += 1
    s.wi[w, WAITING_TOKENS] += tokens


@njit(cache=True)
def _unqueue(s, w, tokens):
    request = s.wi[w, HEAD]
    s.wi[w, HEAD] = s.following[request]
    if s.wi[w, HEAD] == NOBODY:
        s.wi[w, TAIL] = NOBODY
    s.wi[w, WAITING] -= 1
    s.wi[w, WAITING_TOKENS] -= tokens
    return request


@njit(cache=True)
def _door_back(s, head, tail, count, request):
    s.following[request] = NOBODY
    if s.gi[head] == NOBODY:
        s.gi[head] = request
    else:
        s.following[s.gi[tail]] = request
    s.gi[tail] = request
    s.gi[count] += 1


# ---------------------------------------------------------------- counting


@njit(cache=True)
def _bucket(edges, value):
    i = 0
    while value > edges[i]:
        i += 1
    return i


@njit(cache=True)
def _count_first_token(s, request, at):
    ttft = at - s.arrival[request]
    s.ttft[request] = ttft
    s.h_ttft[_bucket(s.e_ttft, ttft)] += 1
    s.gf[TTFT_SUM] += ttft
    s.h_isl[_bucket(s.e_isl, s.isl[request])] += 1
    s.gf[ISL_SUM] += s.isl[request]
    s.gf[CACHED] += s.hit[request]


@njit(cache=True)
def _count_end(s, request, at):
    duration = at - s.arrival[request]
    s.gi[FINISHED] += 1
    s.h_osl[_bucket(s.e_osl, s.osl[request])] += 1
    s.gf[OSL_SUM] += s.osl[request]
    s.h_duration[_bucket(s.e_duration, duration)] += 1
    s.gf[DURATION_SUM] += duration
    if s.osl[request] > 1:
        s.itl[request] = (duration - s.ttft[request]) / (s.osl[request] - 1)
    else:
        s.itl[request] = 0.0


@njit(cache=True)
def _lose(s, request):
    """The request ends without an answer: missed on every promise."""
    s.ttft[request] = np.nan
    s.itl[request] = np.nan
    s.gi[FINISHED] += 1
    s.gi[FAILED] += 1


# ---------------------------------------------------------------- batch workers


@njit(cache=True)
def _step_s(s, p, w):
    """Seconds of the next step of worker ``w`` as it is now."""
    n = s.wi[w, N]
    extra = s.wf[w, EXTRA]
    if n == 0:
        return extra
    return p[DECODE_SCALE] * (p[BASE] + p[PER_SEQUENCE] * n + p[PER_TOKEN] * s.wf[w, KV]) + extra


@njit(cache=True)
def _sync(s, p, w, at):
    """Let worker ``w`` step on to ``at``; nothing joins or leaves on the way."""
    elapsed = at - s.wf[w, T]
    s.wf[w, T] = at
    n = s.wi[w, N]
    if elapsed <= 0.0 or (n == 0 and s.wi[w, PHASE_COUNT] == 0):
        return
    first = _step_s(s, p, w)
    growth = p[DECODE_SCALE] * p[PER_TOKEN] * n
    steps = 2.0 * elapsed / (first + np.sqrt(first * first + 2.0 * growth * elapsed))
    _stepped(s, w, steps, elapsed)


@njit(cache=True)
def _stepped(s, w, steps, elapsed):
    n = s.wi[w, N]
    s.wf[w, V] += steps
    s.wf[w, KV] += n * steps
    if n > 0:
        paid = min(s.wf[w, DEBT], n * steps)
        s.wf[w, DEBT] -= paid
        gaps = n * steps - paid
        if gaps > 0.0:
            mean = elapsed / steps
            i = _bucket(s.e_itl, mean)
            s.h_itl[i] += gaps
            s.gf[ITL_SUM] += gaps * mean
            s.w_itl[w, i] += gaps
            s.w_itl_sum[w] += gaps * mean
        s.gf[GENERATED] += gaps


@njit(cache=True)
def _plan(s, p, w):
    """When the next event of worker ``w`` is due."""
    n, phase = s.wi[w, N], s.wi[w, PHASE_COUNT]
    if n == 0 and phase == 0:
        s.wf[w, NEXT] = np.inf
        return
    target = np.inf
    if n > 0:
        target = s.seq_v[w, 0]
        target = min(target, s.wf[w, V] + max(0.0, (p[KV_CAPACITY] - s.wf[w, RESERVED] - s.wf[w, KV]) / n))
    if phase > 0:
        target = min(target, s.wf[w, PHASE_END])
    steps = max(0.0, target - s.wf[w, V])
    growth = p[DECODE_SCALE] * p[PER_TOKEN] * n
    s.wf[w, NEXT] = s.wf[w, T] + steps * (_step_s(s, p, w) + 0.5 * growth * steps)


@njit(cache=True)
def _context(s, request):
    return s.isl[request] + s.produced[request]


@njit(cache=True)
def _admit(s, p, w, at):
    """Let waiting requests in while there is room: straight into decode, or through a prefill phase."""
    while s.wi[w, WAITING] > 0:
        request = s.wi[w, HEAD]
        context = _context(s, request)
        if context + 1 > p[KV_CAPACITY]:
            _unqueue(s, w, context)
            _lose(s, request)
            continue
        if p[TIMEOUT] > 0 and s.produced[request] == 0 and at - s.arrival[request] > p[TIMEOUT] and s.need[request] >= 0:
            _unqueue(s, w, context)
            _give_up(s, p, request, at)
            continue
        if s.wf[w, KV] + s.wf[w, RESERVED] + context + 1 > p[KV_CAPACITY]:
            return
        if s.wi[w, N] + s.wi[w, PHASE_COUNT] >= p[MAX_SEQUENCES]:
            return
        if s.need[request] > 0:
            if s.wi[w, PHASE_COUNT] > 0:
                return  # one phase at a time
            _begin_phase(s, p, w)
            continue
        _unqueue(s, w, context)
        _join(s, p, w, request, at)


@njit(cache=True)
def _join(s, p, w, request, at):
    """A prefilled request joins the batch at the next step; its first token comes one step later."""
    if s.wi[w, N] == 0 and s.wi[w, PHASE_COUNT] == 0:
        s.wf[w, V] = np.ceil(s.wf[w, V])  # an idle worker starts its step at once
    v = s.wf[w, V]
    boundary = np.ceil(v)
    s.wf[w, KV] += _context(s, request)
    _push_sequence(s, w, boundary + s.osl[request] - s.produced[request], request, v)
    s.wf[w, DEBT] += boundary - v + 1.0
    s.gf[GENERATED] += 1.0
    if s.produced[request] == 0:
        _count_first_token(s, request, at + (boundary + 1.0 - v) * _step_s(s, p, w))


@njit(cache=True)
def _begin_phase(s, p, w):
    """Take prompts from the queue into the next chunk, or one long prompt into several chunks."""
    chunk, taken, seconds = p[CHUNK], 0.0, 0.0
    while s.wi[w, WAITING] > 0:
        request = s.wi[w, HEAD]
        context = _context(s, request)
        need = s.need[request]
        room = s.wf[w, KV] + s.wf[w, RESERVED] + context + 1 <= p[KV_CAPACITY]
        places = s.wi[w, N] + s.wi[w, PHASE_COUNT] < p[MAX_SEQUENCES]
        if need <= 0 or not room or not places or (taken > 0 and taken + need > chunk):
            break
        _unqueue(s, w, context)
        s.following[request] = s.wi[w, PHASE_HEAD]
        s.wi[w, PHASE_HEAD] = request
        s.wi[w, PHASE_COUNT] += 1
        s.wf[w, RESERVED] += context
        taken += need
        seconds += prefill_s(p, s.table, context, context - need)
        if need > chunk:
            break
    if s.wi[w, N] == 0:
        s.wf[w, V] = np.ceil(s.wf[w, V])
    end = np.ceil(s.wf[w, V]) + max(1.0, np.ceil(taken / chunk))
    s.wf[w, PHASE_END] = end
    s.wf[w, EXTRA] = seconds / (end - s.wf[w, V])


@njit(cache=True)
def _end_phase(s, p, w, at):
    """The chunk is done: its prompts have their first token and decode from here on."""
    request = s.wi[w, PHASE_HEAD]
    s.wi[w, PHASE_HEAD], s.wi[w, PHASE_COUNT] = NOBODY, 0
    s.wf[w, EXTRA] = 0.0
    v = np.ceil(s.wf[w, V] - 1e-6)
    s.wf[w, V] = v
    while request != NOBODY:
        after = s.following[request]
        context = _context(s, request)
        s.wf[w, RESERVED] -= context
        s.need[request] = 0
        if s.produced[request] == 0:
            _count_first_token(s, request, at)
            s.gf[GENERATED] += 1.0
            if s.osl[request] <= 1:
                _count_end(s, request, at)
                request = after
                continue
            _push_sequence(s, w, v + s.osl[request] - 1, request, v)
        else:
            _push_sequence(s, w, v + s.osl[request] - s.produced[request], request, v)
        s.wf[w, KV] += context
        request = after


@njit(cache=True)
def _preempt(s, p, w):
    """The KV cache is full: the sequence that joined last gives its place up and is recomputed later."""
    joined, place = s.seq_joined[w], 0
    for i in range(1, s.wi[w, N]):
        if joined[i] > joined[place]:
            place = i
    request = s.seq_request[w, place]
    grown = s.wf[w, V] - joined[place]
    s.wf[w, KV] -= _context(s, request) + grown
    _remove_sequence(s, w, place)
    s.gi[PREEMPTIONS] += 1
    s.produced[request] = min(s.osl[request] - 1, s.produced[request] + max(1, int(grown)))
    s.need[request] = _context(s, request)
    _queue_front(s, w, request, s.need[request])


@njit(cache=True)
def _batch_event(s, p, w, at):
    """Handle whatever is due at worker ``w``: finishes, the end of a chunk, a full cache."""
    elapsed = at - s.wf[w, T]
    n = s.wi[w, N]
    target = np.inf
    full = False
    if n > 0:
        target = s.seq_v[w, 0]
        fills = s.wf[w, V] + max(0.0, (p[KV_CAPACITY] - s.wf[w, RESERVED] - s.wf[w, KV]) / n)
        full = fills < target
        target = min(target, fills)
    if s.wi[w, PHASE_COUNT] > 0 and s.wf[w, PHASE_END] < target:
        target, full = s.wf[w, PHASE_END], False
    steps = max(0.0, target - s.wf[w, V])
    if steps > 0 and elapsed > 0:
        _stepped(s, w, steps, elapsed)
    s.wf[w, V], s.wf[w, T] = target, at
    while s.wi[w, N] > 0 and s.seq_v[w, 0] <= s.wf[w, V] + 1e-9:
        request, joined = s.seq_request[w, 0], s.seq_joined[w, 0]
        s.wf[w, KV] -= _context(s, request) + s.seq_v[w, 0] - joined
        _remove_sequence(s, w, 0)
        _count_end(s, request, at)
    if s.wi[w, N] == 0:
        s.wf[w, KV], s.wf[w, DEBT] = 0.0, 0.0
    if s.wi[w, PHASE_COUNT] > 0 and s.wf[w, PHASE_END] <= s.wf[w, V] + 1e-9:
        _end_phase(s, p, w, at)
    if full and s.wi[w, N] > 0:
        _preempt(s, p, w)
    _admit(s, p, w, at)
    _plan(s, p, w)
    if s.wi[w, STATUS] == DRAINING:
        _end_if_done(s, w, at)


@njit(cache=True)
def _end_if_done(s, w, at):
    if s.wi[w, N] == 0 and s.wi[w, WAITING] == 0 and s.wi[w, PHASE_COUNT] == 0:
        s.wi[w, STATUS] = GONE
        s.wf[w, ENDED] = at


# ---------------------------------------------------------------- prefix cache


@njit(cache=True)
def _hit_tokens(s, p, w, request):
    """Prompt tokens of ``request`` that worker ``w`` has cached; the last token is always computed."""
    if p[CACHE_BLOCKS] <= 0:
        return 0
    found = 0
    for i in range(s.block_starts[request], s.block_starts[request + 1]):
        if s.cached_stamp[w, s.block_ids[i]] == 0:
            break
        found += 1
    return min(int(found * p[BLOCK]), s.isl[request] - 1)


@njit(cache=True)
def _remember_blocks(s, p, w, request):
    """Touch the request's blocks in the worker's cache; the least recently used make room."""
    if p[CACHE_BLOCKS] <= 0:
        return
    size = s.cache_queue.shape[1]
    for i in range(s.block_starts[request], s.block_starts[request + 1]):
        block = s.block_ids[i]
        if s.cached_stamp[w, block] == 0:
            s.wf[w, CACHE_USED] += 1
        s.wi[w, STAMP] += 1
        s.cached_stamp[w, block] = s.wi[w, STAMP]
        if s.wi[w, Q_COUNT] == size:
            _compact(s, w)
        place = (s.wi[w, Q_HEAD] + s.wi[w, Q_COUNT]) % size
        s.cache_queue[w, place, 0], s.cache_queue[w, place, 1] = block, s.wi[w, STAMP]
        s.wi[w, Q_COUNT] += 1
        while s.wf[w, CACHE_USED] > p[CACHE_BLOCKS]:
            block, stamp = s.cache_queue[w, s.wi[w, Q_HEAD], 0], s.cache_queue[w, s.wi[w, Q_HEAD], 1]
            s.wi[w, Q_HEAD] = (s.wi[w, Q_HEAD] + 1) % size
            s.wi[w, Q_COUNT] -= 1
            if s.cached_stamp[w, block] == stamp:
                s.cached_stamp[w, block] = 0
                s.wf[w, CACHE_USED] -= 1


@njit(cache=True)
def _compact(s, w):
    """Drop entries of blocks that were touched again later: they are not the least recently used."""
    size, kept = s.cache_queue.shape[1], 0
    head, count = s.wi[w, Q_HEAD], s.wi[w, Q_COUNT]
    live = np.empty((count, 2), np.int32)
    for i in range(count):
        entry = s.cache_queue[w, (head + i) % size]
        if s.cached_stamp[w, entry[0]] == entry[1]:
            live[kept] = entry
            kept += 1
    s.cache_queue[w, :kept] = live[:kept]
    s.wi[w, Q_HEAD], s.wi[w, Q_COUNT] = 0, kept


# ---------------------------------------------------------------- routing


@njit(cache=True)
def _pick_prefill(s, p, request, at):
    """The prefill worker for a request, or ``NOBODY``."""
    count = s.count[0]
    if count == 0:
        return NOBODY
    if p[ROUTER] == ROUND_ROBIN:
        s.gi[ROBIN_FIRST] += 1
        return s.rows[0, s.gi[ROBIN_FIRST] % count]
    best, least = NOBODY, np.inf
    for k in range(count):
        w = s.rows[0, k]
        work = max(0.0, s.wf[w, FREE_AT] - at)
        if p[ROUTER] == KV_AWARE:
            uncached = s.isl[request] - _hit_tokens(s, p, w, request)
            work = p[OVERLAP] * (uncached + work / p[PER_PROMPT_TOKEN]) / p[BLOCK]
        if work < least:
            best, least = w, work
    return best


@njit(cache=True)
def _pick_batch(s, p, pool, request):
    """The batch worker for a request, or ``NOBODY``."""
    count = s.count[pool]
    if count == 0:
        return NOBODY
    if p[ROUTER] == ROUND_ROBIN:
        s.gi[ROBIN_SECOND] += 1
        return s.rows[pool, s.gi[ROBIN_SECOND] % count]
    best, least = NOBODY, np.inf
    for k in range(count):
        w = s.rows[pool, k]
        if p[ROUTER] == KV_AWARE:
            cost = s.wf[w, KV] + s.wf[w, RESERVED]
            if p[AGGREGATED] > 0:
                uncached = s.isl[request] - _hit_tokens(s, p, w, request)
                cost += p[OVERLAP] * (uncached + s.wi[w, WAITING_TOKENS] + s.wf[w, RESERVED])
            else:
                cost += s.wi[w, WAITING_TOKENS]
        else:
            cost = float(s.wi[w, N] + s.wi[w, WAITING] + s.wi[w, PHASE_COUNT])
            cost += 1e-9 * (s.wf[w, KV] + s.wi[w, WAITING_TOKENS])
        if cost < least:
            best, least = w, cost
    return best


# ---------------------------------------------------------------- requests on their way


@njit(cache=True)
def _arrive(s, p, request, at):
    if p[AGGREGATED] > 0:
        _to_batch(s, p, request, at, 0)
        return
    w = _pick_prefill(s, p, request, at)
    if w == NOBODY:
        _door_back(s, DOOR_FIRST, DOOR_FIRST_TAIL, DOOR_FIRST_COUNT, request)
        return
    start = max(at, s.wf[w, FREE_AT])
    if p[TIMEOUT] > 0 and start - s.arrival[request] > p[TIMEOUT]:
        _push_join(s, max(at, s.arrival[request] + p[TIMEOUT]), request, CANCEL)
        return
    s.hit[request] = _hit_tokens(s, p, w, request)
    service = prefill_s(p, s.table, s.isl[request], s.hit[request])
    _remember_blocks(s, p, w, request)
    s.wf[w, FREE_AT] = start + service
    s.at_prefill[request] = w
    s.service[request] = service
    moved = p[TRANSFER_BASE] + p[TRANSFER_PER_TOKEN] * s.isl[request]
    _push_join(s, start + service + moved, request, JOIN)


@njit(cache=True)
def _to_batch(s, p, request, at, pool):
    """Hand a request to a batch worker: after its prefill, or as a whole in aggregated mode."""
    w = _pick_batch(s, p, pool, request)
    if w == NOBODY:
        _door_back(s, DOOR_SECOND, DOOR_SECOND_TAIL, DOOR_SECOND_COUNT, request)
        return
    if p[AGGREGATED] > 0 and s.produced[request] == 0:
        s.hit[request] = _hit_tokens(s, p, w, request)
        s.need[request] = s.isl[request] - s.hit[request]
        _remember_blocks(s, p, w, request)
    _sync(s, p, w, at)
    _queue_back(s, w, request, _context(s, request))
    _admit(s, p, w, at)
    _plan(s, p, w)


@njit(cache=True)
def _give_up(s, p, request, at):
    """The client's patience is over: missed, or tried again after the back-off."""
    if s.tries[request] < p[RETRIES]:
        s.tries[request] += 1
        s.gi[RETRIED] += 1
        _push_join(s, at + p[BACKOFF] * 2.0 ** (s.tries[request] - 1), request, RETRY)
    else:
        _lose(s, request)


@njit(cache=True)
def _due_join(s, p, second):
    """Handle the earliest entry of the join heap."""
    at, request, kind = s.join_at[0], s.join_request[0], s.join_kind[0]
    _pop_join(s)
    s.gf[NOW] = at
    if kind == JOIN:
        _to_batch(s, p, request, at, second)
    elif kind == CANCEL:
        _give_up(s, p, request, at)
    else:
        s.arrival[request] = at if p[RETRIES] > 0 else s.arrival[request]
        _arrive(s, p, request, at)


@njit(cache=True)
def run_until(s, p, until):
    """Advance the plant to ``until``; ``False`` when the join heap is full and must grow first."""
    n = len(s.arrival)
    second = 0 if p[AGGREGATED] > 0 else 1
    while True:
        soonest, who = np.inf, NOBODY
        for k in range(s.live[0]):
            w = s.live[1 + k]
            if s.wf[w, NEXT] < soonest:
                soonest, who = s.wf[w, NEXT], w
        joins = s.join_at[0] if s.gi[JOIN_COUNT] > 0 else np.inf
        arrives = s.arrival[s.gi[ARRIVED]] if s.gi[ARRIVED] < n else np.inf
        if min(soonest, min(joins, arrives)) > until:
            break
        if soonest <= joins and soonest <= arrives:
            s.gf[NOW] = max(s.gf[NOW], soonest)
            _batch_event(s, p, who, soonest)
        elif joins <= arrives:
            _due_join(s, p, second)
        else:
            if s.gi[JOIN_COUNT] + 2 >= len(s.join_at):
                return False
            request = s.gi[ARRIVED]
            s.gi[ARRIVED] += 1
            s.gi[STARTED] += 1
            s.gf[NOW] = arrives
            _arrive(s, p, request, arrives)
    s.gf[NOW] = max(s.gf[NOW], until)
    for k in range(s.live[0]):
        w = s.live[1 + k]
        _sync(s, p, w, until)
        _plan(s, p, w)
    return True


# ---------------------------------------------------------------- workers coming and going


@njit(cache=True)
def open_door(s, p, second):
    """Hand out what waited at the door for a first worker."""
    request = s.gi[DOOR_FIRST]
    if s.count[0] > 0 and p[AGGREGATED] == 0:
        s.gi[DOOR_FIRST], s.gi[DOOR_FIRST_TAIL], s.gi[DOOR_FIRST_COUNT] = NOBODY, NOBODY, 0
        while request != NOBODY:
            after = s.following[request]
            _arrive(s, p, request, s.gf[NOW])
            request = after
    if s.count[second] > 0:
        request = s.gi[DOOR_SECOND]
        s.gi[DOOR_SECOND], s.gi[DOOR_SECOND_TAIL], s.gi[DOOR_SECOND_COUNT] = NOBODY, NOBODY, 0
        while request != NOBODY:
            after = s.following[request]
            _to_batch(s, p, request, s.gf[NOW], second)
            request = after


@njit(cache=True)
def drain_batch(s, w):
    """Nothing new for this worker; gone at once when it has nothing to do."""
    s.wi[w, STATUS] = DRAINING
    _end_if_done(s, w, s.gf[NOW])


@njit(cache=True)
def kill_prefill(s, p, w):
    """A prefill worker dies: what it had not finished is lost, or goes back to the door."""
    at, kept, count = s.gf[NOW], 0, s.gi[JOIN_COUNT]
    hit = np.empty(count, np.int32)
    hits = 0
    for i in range(count):
        request = s.join_request[i]
        moved = p[TRANSFER_BASE] + p[TRANSFER_PER_TOKEN] * s.isl[request]
        mine = s.join_kind[i] == JOIN and s.at_prefill[request] == w and s.join_at[i] - moved > at
        if mine:
            hit[hits] = request
            hits += 1
        else:
            s.join_at[kept], s.join_request[kept], s.join_kind[kept] = s.join_at[i], s.join_request[i], s.join_kind[i]
            kept += 1
    s.gi[JOIN_COUNT] = kept
    for i in range(kept // 2 - 1, -1, -1):
        _sink_join(s, i, kept, s.join_at[i], s.join_request[i], s.join_kind[i])
    for i in range(hits):
        if p[MIGRATE] > 0:
            _arrive(s, p, hit[i], at)
        else:
            _lose(s, hit[i])


@njit(cache=True)
def kill_batch(s, p, w, second):
    """A batch worker dies: its sequences are lost, or recomputed by others from what they had said."""
    at = s.gf[NOW]
    _sync(s, p, w, at)
    while s.wi[w, N] > 0:
        request, joined = s.seq_request[w, 0], s.seq_joined[w, 0]
        s.produced[request] = min(s.osl[request] - 1, s.produced[request] + max(1, int(s.wf[w, V] - joined)))
        _remove_sequence(s, w, 0)
        _orphan(s, p, request, at, second)
    request = s.wi[w, PHASE_HEAD]
    s.wi[w, PHASE_HEAD], s.wi[w, PHASE_COUNT] = NOBODY, 0
    while request != NOBODY:
        after = s.following[request]
        _orphan(s, p, request, at, second)
        request = after
    while s.wi[w, WAITING] > 0:
        request = s.wi[w, HEAD]
        _orphan(s, p, _unqueue(s, w, _context(s, request)), at, second)
    s.wf[w, KV], s.wf[w, RESERVED], s.wf[w, EXTRA], s.wf[w, NEXT] = 0.0, 0.0, 0.0, np.inf


@njit(cache=True)
def _orphan(s, p, request, at, second):
    if p[MIGRATE] <= 0:
        _lose(s, request)
        return
    s.need[request] = _context(s, request)
    _to_batch(s, p, request, at, second)


@njit(cache=True)
def prefill_gauges(s, p, running, waiting, tokens):
    """Requests being prefilled and waiting, and their prompt tokens, by worker row."""
    at = s.gf[NOW]
    for i in range(s.gi[JOIN_COUNT]):
        if s.join_kind[i] != JOIN:
            continue
        request = s.join_request[i]
        done = s.join_at[i] - p[TRANSFER_BASE] - p[TRANSFER_PER_TOKEN] * s.isl[request]
        if done > at:
            w = s.at_prefill[request]
            tokens[w] += s.isl[request] - s.hit[request]
            if done - s.service[request] <= at:
                running[w] += 1
            else:
                waiting[w] += 1
