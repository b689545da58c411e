"""What a careful operator would set is found among what is searched."""

from __future__ import annotations

from planner.arena.search import MOST, Score, search


def chosen(searched, shipped, goal, score):
    """The choice, and how many settings were tried for it."""
    looking = search(searched, shipped, goal)
    batch, tried = next(looking), 0
    while True:
        tried += len(batch)
        try:
            batch = looking.send([score(**knobs) for knobs in batch])
        except StopIteration as over:
            return over.value, tried


def test_the_cheapest_that_keeps_the_goal_is_chosen():
    def score(queue):
        return Score(1.0 - 0.004 * queue, 20.0 - queue)

    assert chosen({"queue": (1.0, 2.0, 3.0, 4.0)}, {"queue": 3.0}, 0.99, score) == ({"queue": 2.0}, 4)


def test_where_nobody_keeps_the_goal_who_keeps_most_is_chosen_and_of_equals_the_cheaper():
    def score(queue):
        return Score(0.9 if queue < 3 else 0.8, 20.0 - queue)

    assert chosen({"queue": (1.0, 2.0, 3.0)}, {"queue": 3.0}, 0.99, score)[0] == {"queue": 2.0}


def test_what_is_shipped_is_tried_though_the_grid_leaves_it_out():
    assert chosen({"queue": (1.0, 2.0)}, {"queue": 9.0}, 0.5, lambda queue: Score(1.0, 10.0 - queue))[0] == {
        "queue": 9.0
    }


def test_a_large_grid_is_searched_knob_by_knob():
    searched = {name: tuple(float(i) for i in range(10)) for name in ("a", "b", "c")}
    found, tried = chosen(
        searched, {"a": 0.0, "b": 0.0, "c": 0.0}, 0.99,
        lambda a, b, c: Score(1.0, (a - 7) ** 2 + (b - 2) ** 2 + (c - 5) ** 2 + 1),
    )  # fmt: skip

    assert found == {"a": 7.0, "b": 2.0, "c": 5.0}
    assert MOST < tried < 1000
