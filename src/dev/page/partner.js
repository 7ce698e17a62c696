/** A page of another origin: asks for a token when the demo page says so, and tells what it was allowed to see. */

const READABLE = [
  "content-type",
  "retry-after",
  "ratelimit",
  "ratelimit-policy",
  "x-request-id",
  "access-control-allow-origin",
];

addEventListener("message", async ({ data, origin, source }) => {
  if (typeof data?.ask !== "string" || new URL(data.ask).origin !== origin) return;
  source.postMessage({ exchange: await ask(data.ask) }, { targetOrigin: origin });
});

async function ask(url) {
  const start = performance.now();
  const exchange = {
    method: "POST",
    url,
    sent: [
      ["origin", location.origin],
      ["cookie", "demo_session=… (if signed in)"],
    ],
  };
  try {
    const response = await fetch(url, { method: "POST", credentials: "include" });
    const received = READABLE.flatMap((name) =>
      response.headers.has(name) ? [[name, response.headers.get(name)]] : [],
    );
    Object.assign(exchange, { status: response.status, received, body: await response.text() });
  } catch (error) {
    exchange.failure = String(error);
  }
  return { ...exchange, ms: performance.now() - start };
}

if (parent !== window) parent.postMessage({ ready: true }, "*"); // says nothing but that the page is here
