import pickle

import pytest

from unlatent.platform.store import Store, split_address


def test_a_local_root_is_made_absolute_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    store = Store("results")

    assert store.root == str(tmp_path / "results")


def test_what_is_written_is_read_back(tmp_path):
    store = Store(tmp_path)

    store.write_bytes("a/b/c.bin", b"content")

    assert store.read_bytes("a/b/c.bin") == b"content"
    assert store.exists("a/b/c.bin") and store.exists("a/b") and not store.exists("a/c")
    assert store.list("a/b") == ["c.bin"]
    assert store.list("nowhere") == []


def test_a_folder_appears_whole_and_replaces_the_one_before(tmp_path):
    store = Store(tmp_path)
    store.write_folder("run/1", {"a": b"1", "b": b"2"})

    store.write_folder("run/1", {"a": b"3"})

    assert store.list("run") == ["1"]
    assert store.list("run/1") == ["a"]
    assert store.read_bytes("run/1/a") == b"3"


def test_what_a_killed_writer_left_is_deleted_and_hidden_files_of_others_are_not(tmp_path):
    store = Store(tmp_path)
    for name in (f".a.bin.{'0f' * 16}", ".gitignore", "a.bin"):
        (tmp_path / name).touch()
    (tmp_path / f".run.{'ab' * 16}").mkdir()

    store.delete_unfinished("")

    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "a.bin"]


def test_a_path_cannot_leave_the_store(tmp_path):
    store = Store(tmp_path / "store")

    with pytest.raises(ValueError, match="leaves the store"):
        store.read_bytes("../secret")
    with pytest.raises(ValueError, match="leaves the store"):
        store.read_bytes("/etc/hostname")


def test_where_a_folder_cannot_be_is_told_before_anything_is_written(tmp_path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "broken").symlink_to("nowhere")

    Store(tmp_path / "deep" / "down").require_folder("--out")
    Store(tmp_path).require_folder("--out")
    for name, nearest in (("file", "file"), ("file/below", "file"), ("broken", "broken")):
        said = f"^--out={tmp_path}/{name} cannot be a folder: {tmp_path}/{nearest} is none"
        with pytest.raises(ValueError, match=said):
            Store(tmp_path / name).require_folder("--out")
    with pytest.raises(ValueError, match=r"^--out=/proc/out: /proc cannot be written to: "):
        Store("/proc/out").require_folder("--out")

    assert {path.name for path in tmp_path.iterdir()} == {"file", "broken"}
    assert (tmp_path / "file").read_text() == "kept"


def test_a_store_pickles_as_its_root(tmp_path):
    store = pickle.loads(pickle.dumps(Store(tmp_path)))

    store.write_bytes("x", b"y")

    assert (tmp_path / "x").read_bytes() == b"y"


def test_deleting_what_is_not_there_is_well(tmp_path):
    store = Store(tmp_path)
    store.write_bytes("folder/file", b"")

    store.delete("folder")
    store.delete("folder")

    assert not store.exists("folder")


def test_a_local_folder_may_have_a_question_mark_in_its_name(tmp_path):
    store = Store(tmp_path / "why?")

    assert store.uri("results") == f"{tmp_path}/why?/results"
    assert split_address(store.uri("results"))[0].root == store.root
