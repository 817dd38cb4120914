import json
import pickle

import pytest
import torch

from unlatent.platform import checkpoints


@pytest.fixture
def saved(store):
    def save(images_seen: int = 64, value: float = 1.0):
        weights = {"raw": {"w": torch.full((2, 2), value)}, "ema": {"w": torch.zeros(2, 2)}}
        return checkpoints.save(store, "run", images_seen, weights, {"step": 3}, "model: {}", ["zero", "one"])

    return save


def test_a_checkpoint_is_read_back_as_it_was_saved(store, saved):
    saved()

    [found] = checkpoints.all_of(store, "run")

    assert (found.run_id, found.images_seen, found.classes) == ("run", 64, ("zero", "one"))
    assert torch.equal(checkpoints.load_weights(store, found, "raw")["w"], torch.ones(2, 2))
    assert checkpoints.load_state(store, found) == {"step": 3}
    assert store.list(found.path) == ["config.yaml", "ema.safetensors", "meta.json", "model.safetensors", "state.pt"]


def test_the_hash_tells_other_weights_apart(saved):
    assert saved(64, 1.0).hash != saved(64, 2.0).hash


@pytest.mark.parametrize("file", ["model.safetensors", "ema.safetensors", "state.pt", "config.yaml"])
def test_one_changed_byte_is_noticed_and_named(store, saved, file):
    checkpoint = saved()
    path = store.local(f"{checkpoint.path}/{file}")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))

    with pytest.raises(ValueError, match=f"damaged: {file}"):
        checkpoints.verify(store, checkpoint)


def test_the_newest_whole_checkpoint_is_taken_and_the_damaged_one_named(store, saved):
    saved(64)
    store.delete(f"{saved(128).path}/ema.safetensors")

    newest, passed_over = checkpoints.newest(store, "run")

    assert newest and newest.images_seen == 64
    assert len(passed_over) == 1 and "ema.safetensors is missing" in passed_over[0]


def test_a_folder_that_is_no_checkpoint_is_refused(store):
    with pytest.raises(ValueError, match=r"no checkpoint: it has no meta\.json"):
        checkpoints.find(store, "checkpoints/nothing")


def test_another_format_version_is_refused(store, saved):
    path = store.local(f"{saved().path}/meta.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))

    with pytest.raises(ValueError, match="format_version=99"):
        checkpoints.all_of(store, "run")


def test_a_pickle_that_would_run_code_is_not_run(store, saved, tmp_path):
    checkpoint = saved()

    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("owned").touch, ())

    data = pickle.dumps(Evil())
    checkpoint.sha256["state.pt"] = __import__("hashlib").sha256(data).hexdigest()
    store.write_bytes(f"{checkpoint.path}/state.pt", data)

    with pytest.raises(pickle.UnpicklingError):
        checkpoints.load_state(store, checkpoint)
    assert not (tmp_path / "owned").exists()


def test_only_the_last_ones_are_kept(store, saved):
    for images_seen in (32, 64, 96):
        saved(images_seen)

    checkpoints.prune(store, "run", keep=2, newest=checkpoints.paths_of(store, "run")[-1])

    assert [found.images_seen for found in checkpoints.all_of(store, "run")] == [64, 96]
