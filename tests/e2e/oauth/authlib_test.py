"""Token exchange by Authlib, and what it gets verified by PyJWT with signet's JWKS."""

import os
import time
import unittest

import jwt
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

URL = os.environ["SIGNET_URL"]
KEY = os.environ["SHOP_KEY"]
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ALGORITHMS = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}


def subject(**claims):
    claims = {
        "iss": "https://login.example.com",
        "aud": "https://app.example.com",
        "sub": "usr_1",
        "exp": int(time.time()) + 300,
        **claims,
    }
    return jwt.encode(claims, os.environ["SESSION_SECRET"], algorithm="HS256")


def exchange(method, **parameters):
    session = OAuth2Session("shop", KEY, token_endpoint_auth_method=method)
    wanted = {"subject_token": subject(), "subject_token_type": JWT, **parameters}
    return session.fetch_token(f"{URL}/token", grant_type=GRANT, **wanted)


class Authlib(unittest.TestCase):
    def test_exchanges_a_token_that_pyjwt_verifies(self):
        keys = jwt.PyJWKClient(f"{URL}/.well-known/jwks.json")
        # Authlib's Basic doesn't encode what RFC 6749 section 2.3.1 says; the key is found all the same.
        for method in ["client_secret_basic", "client_secret_post"]:
            for app, algorithm in ALGORITHMS.items():
                token = exchange(method, audience=app)["access_token"]
                claims = jwt.decode(
                    token,
                    keys.get_signing_key_from_jwt(token).key,
                    algorithms=[algorithm],
                    audience=f"https://{app}.example.com",
                    issuer="https://tokens.example.com",
                )
                self.assertEqual(claims["sub"], "usr_1")

    def test_reads_the_errors(self):
        with self.assertRaises(OAuthError) as raised:
            exchange("client_secret_basic", audience="rsa", subject_token=subject(iss="https://evil.example.com"))
        self.assertEqual(raised.exception.error, "invalid_request")


if __name__ == "__main__":
    unittest.main()
