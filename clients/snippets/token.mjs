// A user's token, from Node 18 on.
const response = await fetch(`${process.env.SIGNET_URL}/token`, {
  method: "POST",
  headers: { authorization: `Bearer ${process.env.SIGNET_API_KEY}`, "content-type": "application/json" },
  body: JSON.stringify({ userId: "usr_1", userRoles: ["user"] }),
  signal: AbortSignal.timeout(5000),
});
const answer = await response.json();
if (!response.ok) throw new Error(`no token: ${response.status} ${answer.code} (request ${answer.requestId})`);
console.log(answer.token);
