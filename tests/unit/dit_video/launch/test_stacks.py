"""Who the others wait for, by dumps as faulthandler writes them."""

from __future__ import annotations

import faulthandler
import tempfile
import threading

from dit_video.launch import stacks

WAITS = ["/x/torch/distributed/distributed_c10d.py:3007 all_reduce", "/x/torch/distributed/c10d_logger.py:84 wrapper"]
BACKWARD = ["/x/torch/autograd/graph.py:874 _engine_run_backward", "/x/torch/autograd/__init__.py:354 backward"]
BUSY = ["/x/datamodules/clips.py:7 read", "/x/lightning/pytorch/loops/fetchers.py:1 fetch", *WAITS]
DUMP = """Fatal Python error: Segmentation fault

Thread 0x00007f (most recent call first):
  File "/usr/lib/threading.py", line 331 in wait
  File "/usr/lib/threading.py", line 1002 in _bootstrap

Current thread 0x00008f (most recent call first):
  File "/a b/model.py", line 12 in forward
  File "/a b/train.py", line 300 in <module>

Extension modules: numpy (total: 1)
"""


def test_the_main_thread_of_the_last_fatal_dump_is_read() -> None:
    expected = ["/a b/model.py:12 forward", "/a b/train.py:300 <module>"]
    assert stacks.main_thread(DUMP.replace("12", "11") + DUMP) == expected
    assert stacks.main_thread("") == []


def test_a_dump_of_this_very_process_is_read() -> None:
    waiting = threading.Event()
    other = threading.Thread(target=waiting.wait)
    other.start()
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        frames = stacks.main_thread(file.read())
    waiting.set()
    other.join()
    assert frames
    assert not stacks.waits(frames)


def test_the_one_that_waits_for_nobody_is_to_blame() -> None:
    assert stacks.blame({0: WAITS, 1: BUSY, 2: BACKWARD}, {0: 4, 1: 4, 2: 4}).rank == 1


def test_else_the_one_that_is_behind() -> None:
    assert stacks.blame({0: WAITS, 1: WAITS, 2: BACKWARD}, {0: 4, 1: 4, 2: 3}).rank == 2
    assert stacks.blame({0: BUSY, 1: BUSY}, {0: 3, 1: 4}).rank == 0


def test_else_it_is_not_known() -> None:
    assert stacks.blame({0: WAITS, 1: BACKWARD}, {0: 4, 1: 4}).rank is None
    assert stacks.blame({0: BUSY, 1: BUSY}, {0: 4, 1: 4}).rank is None
