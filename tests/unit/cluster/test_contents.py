"""What is built or written is named after its content."""

import json
import tarfile
from pathlib import Path

import pytest
from tests.cluster import binaries, buildah, images, nodeconfig, record, toolchain
from tests.cluster.archive import write_program_image
from tests.cluster.images import Image, snapshot
from tests.cluster.report import ClusterError


@pytest.fixture
def image(tmp_path: Path) -> Image:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY app app\n")
    (tmp_path / "app" / "__pycache__").mkdir(parents=True)
    (tmp_path / "app" / "a.py").write_text("a = 1\n")
    return Image("sample", tmp_path / "Dockerfile", tmp_path, ("app",), {"BASE": ("python3",)})


def _hash(image: Image) -> str:
    with snapshot(image) as taken:
        return taken.hash


def test_an_unchanged_image_keeps_its_tag_whatever_lies_beside_it(image: Image) -> None:
    before = _hash(image)
    (image.context / "notes.txt").write_text("not copied")
    (image.context / "app" / "__pycache__" / "a.pyc").write_text("byte code")
    assert _hash(image) == before


@pytest.mark.parametrize("change", ["content", "name", "mode", "dockerfile"])
def test_any_change_of_what_goes_in_gives_another_tag(image: Image, change: str) -> None:
    before = _hash(image)
    source = image.context / "app" / "a.py"
    if change == "content":
        source.write_text("a = 2\n")
    elif change == "name":
        source.rename(source.with_name("b.py"))
    elif change == "mode":
        source.chmod(0o755)
    else:
        image.dockerfile.write_text("FROM scratch\nCOPY app /app\n")
    assert _hash(image) != before


def test_a_change_during_the_build_does_not_reach_the_image(image: Image) -> None:
    with snapshot(image) as taken:
        (image.context / "app" / "a.py").write_text("a = 2\n")
        assert (taken.folder / "app" / "a.py").read_text() == "a = 1\n"


def test_every_image_of_the_project_copies_what_it_lists() -> None:
    for each in images.IMAGES.values():
        with snapshot(each) as taken:
            assert all((taken.folder / source).exists() for source in each.sources)


def test_the_image_of_a_program_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    for name in ("one.tar", "two.tar"):
        write_program_image(tmp_path / name, "localhost/x:1", program, "/program")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        assert json.load(manifest)[0]["RepoTags"] == ["localhost/x:1"]


def test_programs_are_kept_by_their_pinned_modules_and_flags() -> None:
    kubernetes = binaries.KUBERNETES
    other = binaries.Module(kubernetes.name, kubernetes.programs, kubernetes.link_flags + " -extra")
    assert binaries.content_hash(kubernetes) == binaries.content_hash(kubernetes)
    assert binaries.content_hash(other) != binaries.content_hash(kubernetes)


def test_the_version_that_clients_see_is_the_one_that_is_built() -> None:
    pinned = (binaries.KUBERNETES.folder / "go.mod").read_text()
    assert f"k8s.io/kubernetes {binaries.KUBERNETES_VERSION}" in pinned


@pytest.mark.parametrize(
    ("text", "version"), [("go1.26.5\n", (1, 26)), ("go1.24rc1", (1, 24)), ("devel", None), ("", None)]
)
def test_go_versions_are_read(text: str, version: tuple[int, int] | None) -> None:
    assert toolchain.parse_go_version(text) == version


def test_only_how_the_index_is_reached_goes_into_a_build() -> None:
    listing = ":env:.timeout='180'\nglobal.timeout='5'\nglobal.index-url='https://mirror.example/simple'\nglobal.user='true'\n"
    assert buildah.pip_settings(listing) == {"timeout": "180", "index-url": "https://mirror.example/simple"}


def test_a_resolver_on_loopback_is_not_given_to_pods(tmp_path: Path) -> None:
    stub, real = tmp_path / "stub", tmp_path / "real"
    stub.write_text("nameserver 127.0.0.53\nsearch example.com\n")
    real.write_text("# upstream\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n")
    assert nodeconfig.upstream_dns_servers((stub, real)) == ["192.0.2.1", "192.0.2.2"]
    assert nodeconfig.upstream_dns_servers((stub,)) == []


def test_the_file_system_of_a_folder_is_that_of_its_nearest_mount() -> None:
    mounts = "overlay / overlay rw 0 0\n/dev/sda /home ext4 rw 0 0\ntmpfs /home/a tmpfs rw 0 0\n"
    assert nodeconfig.filesystem_type(Path("/home/b"), mounts) == "ext4"
    assert nodeconfig.filesystem_type(Path("/home/a/b"), mounts) == "tmpfs"
    assert nodeconfig.filesystem_type(Path("/homely"), mounts) == "overlay"


@pytest.mark.parametrize("name", ["", "Upper", "-a", "a-", "a.b", "a/b", "../x", "a" * 31, "1a"])
def test_a_name_that_cannot_be_a_folder_and_a_node_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="cannot name a cluster"):
        record.check_name(name)


def test_a_record_is_found_again_and_its_addresses_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWLINE_STATE", str(tmp_path / "s"))
    monkeypatch.setattr(record, "host_routes", list)
    first, second = record.allocate("one", "node"), record.allocate("two", "control-plane")
    assert record.load("one") == first
    assert record.load_all() == [first, second]
    assert first.slot != second.slot
    assert first.api_url == f"https://10.97.{first.slot}.1:{first.ports['api']}"
    assert second.api_url.startswith("https://127.0.0.1:")
