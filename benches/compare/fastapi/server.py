"""A token endpoint on FastAPI with PyJWT."""

import os
import secrets
import time
from typing import Annotated

import jwt
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel

CLIENT_ID = os.environ["CLIENT_ID"]
CLIENT_SECRET = os.environ["CLIENT_SECRET"]
EXPECTED = f"Bearer {os.environ['API_KEY']}".encode()
LIFETIME = 3600

app = FastAPI()


class Asked(BaseModel):
    userId: str
    userEmail: str | None = None
    userRoles: list[str] | None = None
    plan: str | None = None


class Answer(BaseModel):
    token: str
    tokenType: str
    expiresIn: int
    expiresAt: int
    refreshAfter: int


@app.post("/token")
async def token(asked: Asked, authorization: Annotated[str, Header()] = "") -> Answer:
    if not secrets.compare_digest(authorization.encode(), EXPECTED):
        raise HTTPException(401, "invalid_client")
    now = int(time.time())
    claims = {
        "tenantId": CLIENT_ID,
        **asked.model_dump(exclude_none=True),
        "iat": now,
        "exp": now + LIFETIME,
    }
    return Answer(
        token=jwt.encode(claims, CLIENT_SECRET, algorithm="HS256"),
        tokenType="Bearer",
        expiresIn=LIFETIME,
        expiresAt=now + LIFETIME,
        refreshAfter=LIFETIME * 9 // 10,
    )
