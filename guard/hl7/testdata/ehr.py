# SPDX-FileCopyrightText: 2026 The Myelin authors
# SPDX-License-Identifier: Apache-2.0
"""A hospital information system made of python3-hl7: sends the messages that it
reads, one a line with \\r written out, over TLS, prints MSA-1 and MSA-2 of each answer, and takes
application answers on connections of their own, which it prints too.

ehr.py HOST:PORT NAME CERTIFICATE KEY AUTHORITIES RETURN-PORT
"""
import asyncio
import ssl
import sys

import hl7
from hl7.client import MLLPClient
from hl7.mllp import start_hl7_server


def said(what, message):
    msa = message.segment("MSA")
    print(what, str(message.segment("MSH")[9]), str(msa[1]), str(msa[2]), flush=True)


async def take(reader, writer):
    try:
        while True:
            message = await reader.readmessage()
            said("back", message)
            writer.writemessage(message.create_ack("CA"))
            await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()


def send(target, name, context):
    host, port = target.rsplit(":", 1)
    client = MLLPClient(host, int(port))
    client.socket = context.wrap_socket(client.socket, server_hostname=name)
    for line in sys.stdin:
        answer = client.send_message(line.rstrip("\n").replace("\\r", "\r").encode())
        said("same", hl7.parse(answer.strip(b"\x0b\x1c\r").decode() + "\r"))
    client.close()


async def main():
    target, name, certificate, key, authorities, port = sys.argv[1:]
    client = ssl.create_default_context(cafile=authorities)
    client.load_cert_chain(certificate, key)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authorities)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(certificate, key)
    await start_hl7_server(take, host="127.0.0.1", port=int(port), ssl=server)
    print("ready", flush=True)
    await asyncio.to_thread(send, target, name, client)
    print("sent", flush=True)
    await asyncio.sleep(60)


asyncio.run(main())
