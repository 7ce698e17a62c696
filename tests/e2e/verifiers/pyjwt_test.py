"""Tokens verified by PyJWT, and compared with what the widget's published Python sample signs."""

import json
import os
import pathlib
import time
import unittest
import urllib.request

import jwt

URL = os.environ["SIGNET_URL"]
CLIENT_ID = os.environ["SIGNET_CLIENT_ID"]
SECRET = os.environ["SIGNET_CLIENT_SECRET"]
API_KEY = os.environ["SIGNET_API_KEY"]
USERS = json.loads(pathlib.Path(__file__).with_name("users.json").read_text(encoding="utf-8"))


def token_for(user):
    request = urllib.request.Request(
        f"{URL}/token",
        data=json.dumps(user).encode(),
        headers={"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)["token"]


def sample_for(user):
    """The sample of the support widget's documentation, for one of its users."""
    now = int(time.time())
    payload = {"tenantId": CLIENT_ID, **user, "iat": now, "exp": now + 3600}
    return jwt.encode(payload, SECRET, algorithm="HS256")


def verified(token, secret=SECRET, algorithms=("HS256",)):
    options = {"require": ["tenantId", "userId", "iat", "exp"]}
    return jwt.decode(token, secret, algorithms=list(algorithms), leeway=0, options=options)


class PyJwt(unittest.TestCase):
    def test_accepts_every_user_as_the_sample_signs_it(self):
        for user in USERS:
            user = {name: value for name, value in user.items() if name != "what"}
            with self.subTest(user=user):
                token, sample = token_for(user), sample_for(user)
                claims, expected = verified(token), verified(sample)
                self.assertEqual(jwt.get_unverified_header(token), jwt.get_unverified_header(sample))
                self.assertIs(type(claims["iat"]), int)
                self.assertIs(type(claims["exp"]), int)
                self.assertEqual(claims.pop("exp") - claims.pop("iat"), expected.pop("exp") - expected.pop("iat"))
                self.assertEqual(claims, expected)

    def test_refuses_another_secret_another_algorithm_and_a_changed_claim(self):
        token = token_for({"userId": "usr_5"})
        header, _, signature = token.split(".")
        changed = sample_for({"userId": "usr_6"}).split(".")[1]
        with self.assertRaises(jwt.InvalidSignatureError):
            verified(token, secret=SECRET[1:] + "x")
        with self.assertRaises(jwt.InvalidSignatureError):
            verified(f"{header}.{changed}.{signature}")
        with self.assertRaises(jwt.InvalidAlgorithmError):
            verified(token, algorithms=["HS512"])


if __name__ == "__main__":
    unittest.main()
