"""Signs what schemathesis sends, as RFC 9421 and docs/integrate.md say; none of our code is in it."""

import base64
import hashlib
import os
import re
import secrets
import time
import zlib
from urllib.parse import urlsplit

import schemathesis
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from requests.auth import AuthBase

with open(os.environ["APP_KEY"], "rb") as file:
    KEY = serialization.load_pem_private_key(file.read(), None)
COMPONENTS = '("@method" "@path" "@query" "content-digest")'


class Signature(AuthBase):
    def __call__(self, request):
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        digest = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
        parameters = (
            f'{COMPONENTS};created={int(time.time())};nonce="{secrets.token_hex(16)}"'
            f';keyid="{os.environ["APP"]}/k1";alg="ecdsa-p256-sha256"'
        )
        url = urlsplit(request.url)
        base = "\n".join([
            f'"@method": {request.method}',
            f'"@path": {url.path}',
            f'"@query": ?{url.query}',
            f'"content-digest": {digest}',
            f'"@signature-params": {parameters}',
        ])
        r, s = utils.decode_dss_signature(KEY.sign(base.encode(), ec.ECDSA(hashes.SHA256())))
        signature = base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()
        request.headers["Content-Digest"] = digest
        request.headers["Signature-Input"] = f"sig1={parameters}"
        request.headers["Signature"] = f"sig1=:{signature}:"
        return request


schemathesis.auth.set_from_requests(Signature())


def whole(value):
    """1.0 is an integer for JSON Schema; the API takes no such spelling of one, and says so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def often(value):
    return zlib.crc32(repr(value).encode()) % 4 > 0


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    body = {name: whole(value) for name, value in body.items()}
    # A credit code's last character checks the others, which no schema can say.
    terminal = body.get("terminal")
    code = terminal.get("unifiedSocialCreditCode") if isinstance(terminal, dict) else None
    if isinstance(code, str) and re.fullmatch("[0-9A-HJ-NPQRTUWXY]{18}", code):
        terminal["unifiedSocialCreditCode"] = "91350100M000100Y43"
    # What is there, so that payments are made and refunded.
    names = [body.get("merchantId"), body.get("method")]
    if all(isinstance(name, str) and re.fullmatch("[A-Za-z0-9._-]{1,32}", name) for name in names) and often(body):
        body["merchantId"], body["method"] = "M1", "card"
        # No terminal is.
        body.pop("terminal", None)
    return body


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    known = {"orderDate": "2026-11-24", "orderNumber": "known", "merchantId": "M1"}
    known = {name: value for name, value in known.items() if name in (path_parameters or {})}
    if isinstance(path_parameters, dict) and often(path_parameters):
        return {**path_parameters, **known}
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    # A page begins where the one before ended: nobody makes a place up.
    return {name: value for name, value in query.items() if name != "after"} if isinstance(query, dict) else query
