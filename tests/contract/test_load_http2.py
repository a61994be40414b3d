"""The load generator does as the peer announces, whenever it announces it, and loses nothing.

Against a server that counts streams and sends frames at the worst moment, and against gRPC's own.
"""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest
from frame_server import (
    INITIAL_WINDOW,
    MAX_STREAMS,
    MOST,
    PING,
    REFUSED,
    TABLE_SIZE,
    FrameServer,
    Peer,
    whole,
)  # fmt: skip
from small_servers import predicting

from helpers import load
from helpers.client import protos

PHOTO = [b"\xff\xd8" + b"x" * 50_000]
SMALL = [b"x"]
CANCEL, NO_ERROR = 8, 0


def closed(server: FrameServer, *, photos: list[bytes] = SMALL, **options: object) -> load.Run:
    """A closed loop of 200 requests, 16 at a time, whatever else is said."""
    options = {"concurrency": 16, "requests": 200, "duration_s": 60, **options}
    with server.running() as address:
        return load.closed_loop(address, photos, **options)


def outcome(run: load.Run) -> tuple[int, dict[str, int]]:
    summary = run.summary()
    return summary.successes, dict(summary.failures)


def resent(run: load.Run) -> int:
    return sum(generator.resent for generator in run.generators)


def test_no_more_streams_are_opened_than_the_server_takes() -> None:
    async def handle(peer: Peer, stream: int) -> None:
        await asyncio.sleep(0.02)
        await whole(peer, stream)

    server = FrameServer(handle, {MAX_STREAMS: 4})
    run = closed(server, concurrency=32)
    assert (outcome(run), server.seen.most_open, server.seen.wrong) == ((200, {}), 4, [])
    # 32 at a time of which 4 are served, each for 20 ms: a request waits for eight times that.
    p50 = run.summary().p50_ms
    assert p50 is not None
    assert p50 > 8 * 20 * 0.99
    assert "waited for room on a connection: the server takes 4 at a time" in " ".join(run.notes)


def test_the_wait_for_a_stream_counts_from_when_a_request_was_due() -> None:
    # One at a time, 50 ms each, asked for 40 a second: after a second half of them still wait.
    async def handle(peer: Peer, stream: int) -> None:
        await asyncio.sleep(0.05)
        await whole(peer, stream)

    server = FrameServer(handle, {MAX_STREAMS: 1})
    with server.running() as address:
        run = load.open_loop(address, SMALL, rate_per_s=40, arrivals="constant", duration_s=1)
    assert (outcome(run), server.seen.most_open) == ((40, {}), 1)
    summary = run.summary()
    assert summary.max_ms is not None
    assert summary.max_ms > 40 * 50 - 1000
    # It is the server that is late, not the generator.
    assert run.lateness_ms is not None
    assert run.lateness_ms["p50"] < summary.max_ms / 4


def test_several_connections_take_as_much_each() -> None:
    async def handle(peer: Peer, stream: int) -> None:
        await asyncio.sleep(0.02)
        await whole(peer, stream)

    server = FrameServer(handle, {MAX_STREAMS: 4})
    run = closed(server, channels=4)
    assert (outcome(run), server.seen.most_open, server.seen.over) == ((200, {}), 4, 0)
    assert run.generators[0].waited == 0


def test_a_limit_that_changes_in_the_middle_holds_from_then_on() -> None:
    count = 0

    async def handle(peer: Peer, stream: int) -> None:
        nonlocal count
        count += 1
        limits = {40: 2, 80: 0, 120: 12}
        if count in limits:
            peer.settings({MAX_STREAMS: limits[count]})
        if count == 80:  # with none allowed nothing more would come that could raise it
            await asyncio.sleep(0.1)
            peer.settings({MAX_STREAMS: 3})
        await asyncio.sleep(0.002)
        await whole(peer, stream)

    server = FrameServer(handle, {MAX_STREAMS: 8})
    run = closed(server)
    assert (outcome(run), server.seen.over, server.seen.most_open) == ((200, {}), 0, 12)


def test_two_goaways_lose_nothing() -> None:
    # As gRPC ends a connection: first "no new streams", then "the last one that I took was …".
    async def handle(peer: Peer, stream: int) -> None:
        if stream == 41:
            peer.goaway(MOST)
            peer.frame(PING, payload=b"goodbye!")
            await asyncio.sleep(0.02)
            peer.goaway(peer.highest)
        await asyncio.sleep(0.005)
        await whole(peer, stream)

    server = FrameServer(handle)
    run = closed(server, photos=PHOTO)
    assert (outcome(run), server.seen.answered, server.seen.wrong) == ((200, {}), 200, [])
    assert server.seen.connections > 5
    assert b"goodbye!" in server.seen.pongs
    assert resent(run) == 0


def test_streams_above_the_last_of_a_goaway_are_sent_again() -> None:
    async def handle(peer: Peer, stream: int) -> None:
        if stream == 41:
            above = [other for other in peer.open if other > 21]
            peer.seen.not_processed += len(above)
            peer.goaway(21)
            for other in above:
                peer.closed(other)
        if stream <= peer.last:
            await asyncio.sleep(0.005)
            if stream in peer.open:
                await whole(peer, stream)

    server = FrameServer(handle)
    run = closed(server)
    assert (outcome(run), server.seen.answered) == ((200, {}), 200)
    # Those that crossed the GOAWAY on the wire may never have been read.
    assert resent(run) >= server.seen.not_processed > 0
    assert f"sent again {resent(run)} times" in " ".join(run.notes)


def test_a_refused_stream_is_sent_again() -> None:
    count = 0

    async def handle(peer: Peer, stream: int) -> None:
        nonlocal count
        count += 1
        if count % 3 == 0:
            peer.reset(stream, REFUSED)
        else:
            await whole(peer, stream)

    server = FrameServer(handle)
    run = closed(server)
    assert (outcome(run), server.seen.answered) == ((200, {}), 200)
    assert resent(run) == server.seen.not_processed > 50


def test_a_server_that_refuses_everything_fails_by_the_deadline_and_says_so() -> None:
    async def handle(peer: Peer, stream: int) -> None:
        peer.reset(stream, REFUSED)

    server = FrameServer(handle)
    run = closed(server, requests=8, concurrency=8, timeout_s=0.5)
    assert outcome(run) == (0, {"DEADLINE_EXCEEDED": 8})
    assert "refused" in run.details["DEADLINE_EXCEEDED"]
    # At once, and then at every look, 20 times a second: not in a tight loop.
    assert 8 * 3 < resent(run) < 8 * 15


def test_a_server_that_goes_away_as_soon_as_it_is_asked_is_asked_again() -> None:
    def greeting(peer: Peer) -> None:
        if peer.number < 4:
            peer.goaway(0)

    server = FrameServer(greeting=greeting)
    with server.running() as address:
        run = load.open_loop(address, SMALL, rate_per_s=50, arrivals="constant", duration_s=1)
    assert (outcome(run), server.seen.connections) == ((50, {}), 4)


def test_what_a_server_took_and_did_not_answer_is_lost() -> None:
    # The 20th stream, and those that were open then, are within GOAWAY's last: nobody can tell.
    async def handle(peer: Peer, stream: int) -> None:
        if stream == 41 and peer.number == 1:
            peer.goaway(MOST)
            await asyncio.sleep(0.02)
            peer.seen.resets = len(peer.open)
            peer.writer.close()
            return
        if not (stream > 21 and peer.number == 1):
            await whole(peer, stream)

    server = FrameServer(handle)
    run = closed(server)
    lost = server.seen.resets
    assert outcome(run) == (200 - lost, {"UNAVAILABLE": lost})
    assert 0 < lost <= 16


def test_a_goodbye_is_read_before_the_error_of_writing() -> None:
    # The server has gone when the client writes next: what it said before is still in the socket.
    async def handle(peer: Peer, stream: int) -> None:
        if peer.number == 1:
            peer.goaway(0)
            peer.seen.not_processed += len(peer.open)
            await peer.writer.drain()
            peer.writer.transport.abort()
        else:
            await whole(peer, stream)

    server = FrameServer(handle)
    run = closed(server, photos=PHOTO)
    assert outcome(run) == (200, {})


def test_a_stream_that_is_reset_is_that_request_alone() -> None:
    count = 0

    async def handle(peer: Peer, stream: int) -> None:
        nonlocal count
        count += 1
        if count % 10 == 0:
            peer.reset(stream, CANCEL)
        else:
            await whole(peer, stream)

    run = closed(FrameServer(handle))
    assert (outcome(run), resent(run)) == ((180, {"CANCELLED": 20}), 0)


def test_a_window_of_nothing_that_opens_in_crumbs_loses_nothing() -> None:
    async def handle(peer: Peer, stream: int) -> None:
        request = peer.open[stream]
        while not request.is_set():
            peer.window(stream, 999)
            await asyncio.sleep(0)
        peer.answer(stream)

    server = FrameServer(handle, {INITIAL_WINDOW: 0})
    run = closed(server, photos=PHOTO, requests=40)
    assert (outcome(run), server.seen.wrong) == ((40, {}), [])
    assert server.seen.left_open == 0


def test_a_connection_whose_window_is_used_up_waits_for_more() -> None:
    async def handle(peer: Peer, stream: int) -> None:
        while not peer.open[stream].is_set():
            await asyncio.sleep(0.005)
            peer.window(0, 20_000)
        peer.answer(stream)

    server = FrameServer(handle, {INITIAL_WINDOW: MOST}, refill=False)
    assert outcome(closed(server, photos=PHOTO, requests=40)) == (40, {})


def test_windows_that_shrink_below_nothing_and_grow_again_are_counted_right() -> None:
    async def handle(peer: Peer, stream: int) -> None:
        if stream % 20 == 1:
            peer.settings({INITIAL_WINDOW: 10})
            await asyncio.sleep(0.01)
            peer.settings({INITIAL_WINDOW: 65_535})
        await whole(peer, stream)

    assert outcome(closed(FrameServer(handle), photos=PHOTO)) == (200, {})


def test_a_table_that_the_server_takes_back_is_not_referred_to() -> None:
    async def handle(peer: Peer, stream: int) -> None:
        if stream == 21:
            peer.decoder.max_allowed_table_size = 0  # from the acknowledgement on, at the earliest
            peer.settings({TABLE_SIZE: 0})
        await whole(peer, stream)

    server = FrameServer(handle)
    run = closed(server, concurrency=1)
    assert (outcome(run), server.seen.wrong) == ((200, {}), [])
    assert server.seen.paths == {protos.PREDICT}


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_padded_and_continued_frames_in_pieces_are_read(piece: int) -> None:
    async def handle(peer: Peer, stream: int) -> None:
        await peer.open[stream].wait()
        peer.frame(PING, payload=b"12345678")
        peer.answer(stream, padded=True, parts=5)

    server = FrameServer(handle, piece=piece)
    run = closed(server, requests=50)
    assert outcome(run) == (50, {})
    # The message without what only fills the frame up.
    assert set(run.records["bytes"]) == {len(b"\0\0\0\0\x06answer")}
    # Those of the last requests may still be on their way when the generator ends.
    assert set(server.seen.pongs) == {b"12345678"}
    assert len(server.seen.pongs) > 50 - 16


def test_an_answer_before_the_whole_request_leaves_no_stream_open() -> None:
    async def handle(peer: Peer, stream: int) -> None:
        peer.answer(stream)
        peer.open[stream] = asyncio.Event()  # half closed, for the server: the request isn't whole

    server = FrameServer(handle, {INITIAL_WINDOW: 100, MAX_STREAMS: 4})
    run = closed(server, photos=PHOTO)
    assert outcome(run) == (200, {})
    assert server.seen.over == 0
    # Those of the last requests may still be on their way when the generator ends.
    assert server.seen.resets >= 200 - 4


def after_20_ms(_: bytes, __: grpc.ServicerContext) -> bytes:
    time.sleep(0.02)
    return b"answer"


@pytest.mark.slow
def test_a_grpc_server_that_renews_its_connections_loses_nothing() -> None:
    options = {"max_connection_age_ms": 500, "max_connection_age_grace_ms": 5000}
    with predicting(after_20_ms, threads=32, **options) as address:
        opened = load.open_loop(address, PHOTO, rate_per_s=100, duration_s=3)
        pushed = load.closed_loop(address, PHOTO, concurrency=16, duration_s=3)
    assert [dict(run.summary().failures) for run in (opened, pushed)] == [{}, {}]


@pytest.mark.slow
def test_a_grpc_server_that_takes_four_at_a_time_is_measured_honestly() -> None:
    with predicting(after_20_ms, threads=32, max_concurrent_streams=4) as address:
        run = load.closed_loop(address, PHOTO, concurrency=32, duration_s=2)
    summary = run.summary()
    assert dict(summary.failures) == {}
    assert summary.p50_ms is not None
    assert summary.p50_ms > 8 * 20 * 0.99
