"""Downloads against a real server on the loopback interface that breaks in every way an origin can."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner import cli, datasets
from planner.datasets import LOCK_NAME, Dataset, DatasetError, DownloadError, RemoteFile, catalog, find, get

CONTENT = bytes(range(256)) * 2000  # half a megabyte: several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Origin:
    """A web server with one file, and a list of how the next requests are to be treated."""

    content: bytes = CONTENT
    moods: list[str] = field(default_factory=list)  # "500", "404", "cut", "deaf", "shifted"; then it behaves
    ranges: list[str | None] = field(default_factory=list)  # what was asked for, in order
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    """GET with ranges, as an origin would; moods come from the server's ``Origin``."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Quiet: pytest shows what matters."""

    def do_GET(self) -> None:
        origin: Origin = self.server.origin  # type: ignore[attr-defined]
        asked = self.headers.get("Range")
        origin.ranges.append(asked)
        mood = origin.moods.pop(0) if origin.moods else ""
        if mood.isdecimal() or mood == "moved":
            self.send_response(int(mood) if mood.isdecimal() else 302)
            self.send_header("Location", origin.url)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and mood != "deaf" else 0
        self._send(origin.content, max(start - 100, 0) if mood == "shifted" else start, partial=bool(asked), mood=mood)

    def _send(self, content: bytes, start: int, *, partial: bool, mood: str) -> None:
        if partial and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if partial and mood != "deaf" else 200)
        if partial and mood != "deaf":
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if mood == "cut":  # promised whole, sent by half
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            self.wfile.write(body)


@pytest.fixture
def origin() -> Iterator[Origin]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Origin(url=f"http://127.0.0.1:{server.server_port}/folder/trace.csv")
        server.origin = served  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def dataset(origin: Origin, **remote: object) -> Dataset:
    file = RemoteFile(**{"url": origin.url, "bytes": len(CONTENT), "sha256": SHA256, **remote})  # type: ignore[arg-type]
    return Dataset("trace", "A trace", "azure", "http://home", "CC-BY-4.0", "Somebody", (file,))


def fetch(wanted: Dataset, folder: Path) -> list[datasets.Fetched]:
    return get(wanted, folder, first_wait_s=0.001)


def test_a_file_arrives_whole_and_verified(origin: Origin, tmp_path: Path) -> None:
    (fetched,) = fetch(dataset(origin), tmp_path / "new" / "folder")

    assert fetched.path == tmp_path / "new" / "folder" / "trace.csv"
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.sha256, fetched.verified, fetched.downloaded) == (SHA256, True, True)
    assert [path.name for path in fetched.path.parent.iterdir()] == ["trace.csv"]


def test_what_is_here_is_verified_and_not_fetched_again(origin: Origin, tmp_path: Path) -> None:
    fetch(dataset(origin), tmp_path)
    (again,) = fetch(dataset(origin), tmp_path)

    assert not again.downloaded
    assert len(origin.ranges) == 1


def test_a_broken_connection_resumes_where_it_broke(origin: Origin, tmp_path: Path) -> None:
    origin.moods = ["cut", "cut"]
    told: list[str] = []
    get(dataset(origin), tmp_path, retrying=told.append, first_wait_s=0.001)
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in origin.ranges if asked]

    assert (tmp_path / "trace.csv").read_bytes() == CONTENT
    assert origin.ranges[0] is None
    assert starts == [len(CONTENT) // 2, len(CONTENT) * 3 // 4]  # every byte crossed the wire once
    assert len(told) == 2
    assert all("trying again in" in sentence for sentence in told)


def test_a_later_call_resumes_what_an_earlier_one_left(origin: Origin, tmp_path: Path) -> None:
    origin.moods = ["cut"] + ["500"] * 10
    with pytest.raises(DownloadError, match=r"500 Internal Server Error; 256,000 bytes are kept, a new try resumes"):
        fetch(dataset(origin), tmp_path)
    assert not (tmp_path / "trace.csv").exists()

    origin.moods = []
    fetch(dataset(origin), tmp_path)
    assert origin.ranges[-1] == "bytes=256000-"
    assert (tmp_path / "trace.csv").read_bytes() == CONTENT


@pytest.mark.parametrize("mood", ["500", "503", "429", "cut"])
def test_passing_faults_are_tried_again(origin: Origin, tmp_path: Path, mood: str) -> None:
    origin.moods = [mood, mood]
    fetch(dataset(origin), tmp_path)

    assert (tmp_path / "trace.csv").read_bytes() == CONTENT
    assert len(origin.ranges) == 3


def test_redirections_are_followed(origin: Origin, tmp_path: Path) -> None:
    """Release files of GitHub live behind one."""
    origin.moods = ["moved"]
    fetch(dataset(origin), tmp_path)

    assert (tmp_path / "trace.csv").read_bytes() == CONTENT


@pytest.mark.parametrize("mood", ["404", "403", "410"])
def test_what_the_origin_refuses_is_not_asked_again(origin: Origin, tmp_path: Path, mood: str) -> None:
    origin.moods = [mood] * 9
    with pytest.raises(DownloadError, match=rf"{origin.url}: the origin answers {mood}"):
        fetch(dataset(origin), tmp_path)

    assert len(origin.ranges) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_origin_that_ignores_ranges_is_read_from_the_start(origin: Origin, tmp_path: Path) -> None:
    origin.moods = ["cut", "deaf"]
    fetch(dataset(origin), tmp_path)

    assert (tmp_path / "trace.csv").read_bytes() == CONTENT


def test_another_range_than_asked_for_is_not_glued_on(origin: Origin, tmp_path: Path) -> None:
    origin.moods = ["cut", "shifted"]
    fetch(dataset(origin, sha256=None, bytes=None), tmp_path)

    assert (tmp_path / "trace.csv").read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_is_started_anew(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "trace.csv.part").write_bytes(b"x" * (len(CONTENT) + 5))
    fetch(dataset(origin), tmp_path)

    assert (tmp_path / "trace.csv").read_bytes() == CONTENT


@pytest.mark.parametrize("known_size", [True, False])
def test_a_part_that_is_whole_only_needs_its_name(origin: Origin, tmp_path: Path, known_size: bool) -> None:
    (tmp_path / "trace.csv.part").write_bytes(CONTENT)
    fetch(dataset(origin, bytes=len(CONTENT) if known_size else None), tmp_path)

    assert (tmp_path / "trace.csv").read_bytes() == CONTENT
    assert origin.ranges == ([] if known_size else [f"bytes={len(CONTENT)}-"])


def test_a_wrong_checksum_leaves_nothing_behind(origin: Origin, tmp_path: Path) -> None:
    origin.content = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match=f"the catalog has {SHA256}; the download was removed"):
        fetch(dataset(origin), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_not_overwritten(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("mine")
    with pytest.raises(DatasetError, match=r"trace\.csv is not the published file: .*; move it away"):
        fetch(dataset(origin), tmp_path)

    assert (tmp_path / "trace.csv").read_text() == "mine"
    assert origin.ranges == []


def test_without_a_published_checksum_the_first_download_is_pinned(origin: Origin, tmp_path: Path) -> None:
    unpublished = dataset(origin, sha256=None, bytes=None)
    (first,) = fetch(unpublished, tmp_path)
    pins = json.loads((tmp_path / LOCK_NAME).read_text())
    assert not first.verified
    assert pins == {origin.url: SHA256}

    (tmp_path / "trace.csv").unlink()
    origin.content = b"something else"
    with pytest.raises(DownloadError, match=f"{LOCK_NAME} has {SHA256}"):
        fetch(unpublished, tmp_path)


def test_a_changed_file_is_seen_by_its_pin(origin: Origin, tmp_path: Path) -> None:
    fetch(dataset(origin, sha256=None), tmp_path)
    (tmp_path / "trace.csv").write_text("edited")

    with pytest.raises(DatasetError, match="is not the published file"):
        fetch(dataset(origin, sha256=None), tmp_path)


def test_a_damaged_lock_says_what_to_do(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("{")

    with pytest.raises(DatasetError, match="remove it to pin the files anew"):
        fetch(dataset(origin), tmp_path)


def test_many_files_go_into_a_folder_of_their_own(origin: Origin, tmp_path: Path) -> None:
    one = dataset(origin).files[0]
    parts = tuple(replace(one, url=one.url.replace("trace", f"chunk-{n}-trace")) for n in range(3))
    fetched = fetch(replace(dataset(origin), files=parts), tmp_path)

    assert [file.path for file in fetched] == [tmp_path / "trace" / f"chunk-{n}-trace.csv" for n in range(3)]


def test_progress_counts_to_the_whole(origin: Origin, tmp_path: Path) -> None:
    origin.moods = ["cut"]
    seen: list[tuple[str, int, int | None]] = []
    get(dataset(origin), tmp_path, lambda *step: seen.append(step), first_wait_s=0.001)

    assert seen[-1] == ("trace.csv", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_an_origin_nobody_answers_for_is_a_download_error(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/trace.csv"  # bound, but nobody listens
        with pytest.raises(DownloadError, match="refused"):
            fetch(dataset(Origin(url=url)), tmp_path)


# The catalog


def test_the_shipped_catalog_is_complete() -> None:
    """An entry without licence or attribution could not be used; a moving URL could not be verified."""
    for name, entry in catalog().items():
        assert entry.licence in {"CC-BY-4.0", "Apache-2.0", "MIT"}, name
        assert entry.attribution, name
        assert entry.format in {"azure", "mooncake", "burstgpt", "servegen", "rates"}, name
        assert len({file.name for file in entry.files}) == len(entry.files), name
        for file in entry.files:
            pinned = "/releases/download/" in file.url or any(len(part) == 40 for part in file.url.split("/"))
            assert pinned, file.url
            assert file.sha256 is None or (len(file.sha256) == 64 and file.checked in {"computed", "origin", "agreed"})


def test_catalog_checksums_are_those_of_the_files_at_hand(shared: Path) -> None:
    import gzip

    at_hand = {
        "azure-2023-conv": "azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz",
        "mooncake-conversation": "mooncake_fast25/conversation_trace.jsonl.gz",
        "twitter-aapl": "nab/Twitter_volume_AAPL.csv.gz",
        "twitter-amzn": "nab/Twitter_volume_AMZN.csv.gz",
        "twitter-goog": "nab/Twitter_volume_GOOG.csv.gz",
    }
    for name, path in at_hand.items():
        content = gzip.decompress((shared / "traces" / path).read_bytes())
        (file,) = find(name).files

        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256), name


def test_numbered_parts_are_one_file_each() -> None:
    names = [file.name for file in find("servegen-m-small").files]

    assert names == [f"chunk-{n}-trace.csv" for n in range(43)]


@pytest.mark.parametrize(
    "text", ["schema: other/v1", "- a list", "{", "schema: sla-planner/catalog.v1\ndatasets: {x: {title: T}}"]
)
def test_a_broken_catalog_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(text)

    with pytest.raises(DatasetError, match=r"catalog\.yaml is not a catalog"):
        catalog(path)


# The command


@pytest.fixture
def listed(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A catalog whose one entry lies on the loopback origin, and no patience."""
    entry = dataset(origin)
    monkeypatch.setattr(datasets, "catalog", lambda file=None: {entry.name: entry})
    monkeypatch.setattr(datasets, "ATTEMPTS", 2)
    return entry


def planner(*args: str) -> Result:
    return CliRunner().invoke(cli.main, ["data", *args])


def test_list_shows_name_licence_and_size() -> None:
    shown = planner("list")

    assert shown.exit_code == 0
    assert "mooncake-conversation" in shown.output
    assert "CC-BY-4.0" in shown.output
    assert "52 MB" in shown.output


def test_list_as_json_has_everything() -> None:
    shown = json.loads(planner("list", "--json").output)

    assert shown["schema"] == "sla-planner/datasets.v1"
    assert {entry["name"] for entry in shown["datasets"]} == set(catalog())


def test_get_says_where_it_is_and_whom_to_cite(listed: Dataset, tmp_path: Path) -> None:
    done = planner("get", "trace", "--dir", str(tmp_path))

    assert done.exit_code == 0, done.output
    assert (tmp_path / "trace.csv").read_bytes() == CONTENT
    assert "verified: sha256 as in the catalog" in done.output
    assert "CC-BY-4.0; please cite: Somebody (http://home)" in done.output
    assert f"planner simulate --traffic {tmp_path / 'trace.csv'}" in done.output
    assert "(1 already here)" in planner("get", "trace", "--dir", str(tmp_path)).output


def test_get_says_what_could_not_be_verified(origin: Origin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry = dataset(origin, sha256=None)
    monkeypatch.setattr(datasets, "catalog", lambda file=None: {entry.name: entry})
    done = planner("get", "trace", "--dir", str(tmp_path))

    assert done.exit_code == 0
    assert f"unverified: no checksum is published for 1 of them; pinned in {tmp_path / LOCK_NAME}" in done.output


def test_a_network_that_fails_is_exit_code_3(listed: Dataset, origin: Origin, tmp_path: Path) -> None:
    origin.moods = ["404"]
    done = planner("get", "trace", "--dir", str(tmp_path))

    assert done.exit_code == 3
    assert "the origin answers 404 Not Found" in done.output


def test_an_unknown_name_is_exit_code_2(tmp_path: Path) -> None:
    done = planner("get", "azure", "--dir", str(tmp_path))

    assert done.exit_code == 2
    assert "no data set is called 'azure'; there are: azure-2023-code" in done.output


def test_a_file_in_the_way_is_exit_code_2(listed: Dataset, tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("mine")

    assert planner("get", "trace", "--dir", str(tmp_path)).exit_code == 2
