"""The spool: on a disk it is the folder itself, in a bucket its files appear whole where they belong."""

import gc
import pathlib

from prm_jax.spool import Spool, is_remote


def test_a_folder_on_a_disk_is_its_own_spool(tmp_path):
    spool = Spool(tmp_path / "a" / "b")
    assert spool.folder == tmp_path / "a" / "b" and spool.folder.is_dir()
    (spool.folder / "lines").write_text("one\n")
    spool.flush()
    spool.close()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["lines"]


def test_only_the_url_of_a_bucket_is_remote(tmp_path):
    assert is_remote("gs://bucket/run") and is_remote("s3://bucket/run")
    assert not is_remote(tmp_path) and not is_remote("runs/gs:/bucket")


def test_what_grows_is_put_up_whole(bucket):
    spool = Spool("gs://bucket/run", "lines")
    with (spool.folder / "lines").open("a", buffering=1) as file:
        for text, there in (("one\n", b"one\n"), ("two\n", b"one\ntwo\n")):
            file.write(text)
            assert bucket.get("bucket/run/lines") != there
            spool.flush()
            assert bucket.get("bucket/run/lines") == there
        file.write("three\n")
    spool.close()
    assert bucket.get("bucket/run/lines") == b"one\ntwo\nthree\n"
    assert not spool.folder.exists()


def test_what_has_not_grown_is_not_put_up_again(bucket):
    spool = Spool("gs://bucket/run")
    (spool.folder / "lines").write_text("one\n")
    spool.flush()
    first = bucket.generation("bucket/run/lines")
    spool.close()
    assert bucket.generation("bucket/run/lines") == first


def test_what_is_gone_on_with_is_taken_from_the_bucket(bucket):
    bucket.put("bucket/run/lines", b"one\n")
    bucket.put("bucket/run/large", b"nobody asked\n")
    spool = Spool("gs://bucket/run", "lines", "missing")
    assert {path.name: path.read_text() for path in spool.folder.iterdir()} == {"lines": "one\n"}
    spool.close()


def test_a_spool_that_nobody_closed_leaves_nothing_on_this_machine(bucket):
    spool = Spool("gs://bucket/run")
    folder: pathlib.Path = spool.folder
    del spool
    gc.collect()
    assert not folder.exists()
