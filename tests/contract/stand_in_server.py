#!/usr/bin/env python3
"""A server for the tests of `clusters/local`: there in a moment, and it misbehaves when told to.

It takes tensorflow_model_server's flags for the two ports, has gRPC's health service, Prometheus
metrics, and a page that says who it is. `--misbehave` is one of
    exit        an error in the log and exit status 3, before any port is open
    mute        no port is ever opened
    deaf        SIGTERM is ignored
    collide     the first time: somebody else has the port, so it exits
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rest_api_port", type=int, required=True)
    parser.add_argument("--misbehave", default="")
    parser.add_argument("--once", type=Path)
    args, _ = parser.parse_known_args()
    print(f"starting on port {args.port}", flush=True)
    if args.misbehave == "exit":
        print("E the answer could not be found: 42 is missing", flush=True)
        sys.exit(3)
    if args.misbehave == "collide" and not args.once.exists():
        args.once.touch()
        collide(args.port)
    if args.misbehave == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if args.misbehave == "mute":
        signal.pause()
    asyncio.run(serve(args.port, args.rest_api_port))


def collide(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    if os.fork() == 0:  # somebody else, who stays for a while
        signal.alarm(20)
        while True:
            listener.accept()
    sys.exit("address already in use")


async def serve(port: int, rest_port: int) -> None:
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    requests = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        body = json.dumps({"pid": os.getpid(), "argv": sys.argv, "env": dict(os.environ)})
        if path == "/unready":
            await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        elif path == "/monitoring/prometheus/metrics":
            body = (
                "# TYPE :tensorflow:serving:request_count counter\n"
                f':tensorflow:serving:request_count{{model_name="m",status="OK"}} {requests}\n'
            )
        else:
            requests += 1
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body.encode())
        await writer.drain()
        writer.close()

    await asyncio.start_server(answer, "127.0.0.1", rest_port)
    await server.wait_for_termination()


if __name__ == "__main__":
    main()
