"""Pictures of three classes, written as folders and as shards of both kinds."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CLASSES = ["cat", "dog", "owl"]
COUNT = 150  # pictures, of classes in turn


def make_pictures() -> list[bytes]:
    """PNG files of different sizes, in the order of their classes."""
    generator = np.random.default_rng(0)
    files = []
    for number in range(COUNT):
        buffer = io.BytesIO()
        pixels = generator.integers(0, 256, (9 + number % 5, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return files


def label_of(number: int) -> int:
    return number * len(CLASSES) // COUNT


def write_folder(root, pictures):
    for number, picture in enumerate(pictures):
        path = root / CLASSES[label_of(number)] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)


def write_parquet(root, pictures, labels=None, named=True, shard=70, group=16, plain=False):
    root.mkdir(parents=True, exist_ok=True)
    labels = [label_of(number) for number in range(len(pictures))] if labels is None else labels
    for start in range(0, len(pictures), shard):
        some = pictures[start : start + shard]
        images = some if plain else [{"bytes": each, "path": None} for each in some]
        columns = {"image": images, "label": labels[start : start + shard]}
        table = pa.table({**columns, "caption": [f"picture {start + place}" for place in range(len(some))]})
        if named:
            features = {"info": {"features": {"label": {"names": CLASSES, "_type": "ClassLabel"}}}}
            table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        pq.write_table(table, root / f"train-{start:05d}.parquet", row_group_size=group)


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))


def write_webdataset(root, pictures, shard=70):
    for start in range(0, len(pictures), shard):
        members = []
        for number, picture in enumerate(pictures[start : start + shard], start):
            members += [
                (f"part/{number:03d}.cls", CLASSES[label_of(number)].encode()),
                (f"part/{number:03d}.png", picture),
            ]
            members += [(f"part/{number:03d}.txt", f"picture {number}".encode())]
        write_tar(root / f"{start:05d}.tar", members)


WRITERS = {"imagefolder": write_folder, "parquet": write_parquet, "webdataset": write_webdataset}
