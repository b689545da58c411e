"""ServeGen: published counts are kept to the request, burstiness as published, lengths around the means."""

from __future__ import annotations

import numpy as np
import pytest

from planner.simulation.traffic.arrivals import Window
from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.lengths import around
from planner.simulation.traffic.load import TrafficSpec, load
from planner.simulation.traffic.servegen import draw_clients, read_clients, read_totals

HEADER = "client,t_sec,rate_rps,cv,pattern,shape,scale\n"
TOTALS = "t_sec,rate_rps,isl_mean_6h,osl_mean_6h\n"
STEADY = "0,600,2,1,Gamma,1,0.5\n0,1200,1,1,Gamma,1,1\n3,600,0.5,2,Weibull,0.5,1\n"
LENGTHS = around(100, 10)


def arrivals(clients, scale: float = 1.0, seed: int = 1) -> np.ndarray:
    return draw_clients(clients, LENGTHS, Window(0, clients.end_s), scale, seed).at_s


def test_every_row_becomes_the_requests_that_were_counted(write) -> None:
    """A published rate is a count over ten minutes, so nothing about it is random."""
    clients = read_clients(write("c.csv", HEADER + STEADY))
    at = arrivals(clients)

    assert clients.end_s == 1200  # the clock starts at the first row
    assert clients.epoch_s == 600
    assert (at < 600).sum() == 600 * 2 + 600 * 0.5
    assert (at >= 600).sum() == 600


@pytest.mark.parametrize("scale", [0.1, 0.37, 2.5])
def test_scale_multiplies_the_counts(write, scale: float) -> None:
    at = arrivals(read_clients(write("c.csv", HEADER + STEADY)), scale)

    assert abs(len(at) - 2100 * scale) <= 3  # one rounding for each row


def test_burstiness_is_the_published_shape(write) -> None:
    """Gamma gaps of shape 1/cv² have that coefficient of variation, also after they are fitted to the row."""
    for cv in (0.5, 1.0, 3.0):
        rows = "".join(f"0,{600 * i},20,{cv},Gamma,{1 / cv**2},1\n" for i in range(5))
        gaps = np.diff(arrivals(read_clients(write("c.csv", HEADER + rows))))

        assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_a_weibull_of_shape_one_is_poisson(write) -> None:
    rows = "".join(f"0,{600 * i},20,1,Weibull,1,1\n" for i in range(5))
    gaps = np.diff(arrivals(read_clients(write("c.csv", HEADER + rows))))

    assert gaps.std() / gaps.mean() == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("pattern", ["Gamma", "Weibull"])
def test_gaps_beyond_the_range_of_floats_make_bursts_not_errors(write, pattern: str) -> None:
    """Shapes down to 1e-6 are published; one gap is then nearly the whole row."""
    at = arrivals(read_clients(write("c.csv", HEADER + f"0,0,1,800,{pattern},0.0000016,1\n0,600,1,1,Gamma,1,1\n")))
    first = at[at < 600]

    assert len(first) == 600
    assert np.isfinite(at).all()
    assert (np.diff(first) < 1e-6).sum() >= 590


def test_no_moment_of_a_row_is_special(write) -> None:
    """Bursts at the seams of ten minutes would teach planners a rhythm that traffic does not have."""
    rows = "".join(f"0,{600 * i},0.05,5,Gamma,0.04,1\n" for i in range(2000))
    inside = np.sort(arrivals(read_clients(write("c.csv", HEADER + rows))) % 600 / 600)
    distance = np.abs(inside - np.arange(len(inside)) / len(inside)).max()

    assert distance < 1.95 / np.sqrt(2000)  # requests of one row belong together: 2000 independent bursts


def test_a_window_holds_what_the_whole_has_there(write) -> None:
    clients = read_clients(write("c.csv", HEADER + STEADY))
    whole = draw_clients(clients, LENGTHS, Window(0, 1200), 1.0, 7)
    part = draw_clients(clients, LENGTHS, Window(590, 700), 1.0, 7)
    inside = (whole.at_s >= 590) & (whole.at_s < 700)

    assert np.array_equal(part.at_s, whole.at_s[inside])
    assert np.array_equal(part.output_tokens, whole.output_tokens[inside])


def test_clients_that_count_from_different_moments_are_merged_in_time(write) -> None:
    at = arrivals(read_clients(write("c.csv", HEADER + "0,0,1,1,Gamma,1,1\n1,250,1,1,Gamma,1,1\n")))

    assert len(at) == 1200
    assert (np.diff(at) >= 0).all()


def test_lengths_come_from_the_totals_table_beside(write) -> None:
    write("x_total_10min.csv", TOTALS + "600,2.5,100,50\n1200,1,1000,5\n")
    path = write("x_clients_10min.csv", HEADER + STEADY)
    traffic = load(TrafficSpec(path))
    early = traffic.arrivals_s < 600

    assert traffic.input_tokens[early].mean() == pytest.approx(100, rel=0.1)
    assert traffic.input_tokens[~early].mean() == pytest.approx(1000, rel=0.15)
    assert "x_total_10min.csv" in traffic.notes[-1]


def test_a_totals_table_alone_is_rates_with_lengths(write) -> None:
    path = write("x_total.csv", TOTALS + "0,2,100,50\n600,4,100,50\n")
    totals = read_totals(path)
    traffic = load(TrafficSpec(path, dispersion=2.0))

    assert totals.curve.rates.tolist() == [2, 4]
    assert traffic.duration_s == 1200
    assert traffic.requests == pytest.approx(3600, rel=0.1)


def test_a_folder_of_published_chunks_is_read(write) -> None:
    """What `planner data get servegen-…` leaves behind; a silent client has no pattern."""
    write("chunks/chunk-10-trace.csv", "0,2,1,Gamma,1,0.5\n600,0,nan,,,\n")
    path = write("chunks/chunk-2-trace.csv", "0,1,2,Weibull,0.5,1\n").parent
    clients = read_clients(path)

    assert clients.rates.tolist() == [1, 2]
    assert load(TrafficSpec(path, isl=100, osl=10)).requests == 1800


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("0,0,1,1,Pareto,1,1\n", r"c\.csv:2: pattern must be Gamma or Weibull"),
        ("0,0,1,1,Gamma,0,1\n", r"c\.csv:2: shape must be above 0"),
        ("0,0,1,1,Gamma,1,1\n0,300,1,1,Gamma,1,1\n", r"c\.csv:3: t_sec is less than 600 s after"),
        ("0,600,1,1,Gamma,1,1\n0,0,1,1,Gamma,1,1\n", r"c\.csv:3: t_sec is less than 600 s after"),
        ("1,0,1,1,Gamma,1,1\n0,0,1,1,Gamma,1,1\n", r"c\.csv:3: client is smaller than on the line before"),
        ("0,0,-1,1,Gamma,1,1\n", r"c\.csv:2: rate_rps is '-1'"),
        ("0,0,1,1,Gamma,1\n", r"c\.csv:2: 6 fields"),
        ("0,0,0,1,Gamma,1,1\n", r"no client has a rate above 0"),
        ("", r"has a header but no rows"),
    ],
)
def test_a_broken_client_table_is_refused(write, rows: str, said: str) -> None:
    with pytest.raises(TrafficError, match=said):
        read_clients(write("c.csv", HEADER + rows))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TOTALS + "600,1,100,10\n0,1,100,10\n", r"t\.csv:3: t_sec is earlier than on line 2"),
        (TOTALS + "0,1,0.5,10\n", r"t\.csv:2: isl_mean_6h is below 1 token"),
        (TOTALS + "0,0,100,10\n", r"every rate_rps is 0"),
        (TOTALS, r"has a header but no rows"),
        ("t_sec,rate_rps,isl_mean_6h,osl_mean_6h,cost\n", r"has no column cost"),
    ],
)
def test_a_broken_totals_table_is_refused(write, text: str, said: str) -> None:
    with pytest.raises(TrafficError, match=said):
        read_totals(write("t.csv", text))


def test_a_folder_without_chunks_is_refused(write) -> None:
    folder = write("folder/readme.txt", "nothing here").parent
    with pytest.raises(TrafficError, match=r"without chunk-N-trace\.csv files"):
        read_clients(folder)
    write("folder/chunk-x-trace.csv", "0,1,1,Gamma,1,1\n")
    with pytest.raises(TrafficError, match="the client's number is missing"):
        read_clients(folder)


def test_dispersion_does_not_go_with_clients(write) -> None:
    with pytest.raises(TrafficError, match="have their own burstiness"):
        load(TrafficSpec(write("c.csv", HEADER + STEADY), dispersion=8))
