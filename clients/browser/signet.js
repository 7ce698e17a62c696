/**
 * Tokens for an embedded widget, from signet's browser endpoint: fetched, shared, renewed ahead, kept in memory only.
 *
 * One file without imports, so that a page can serve it as it is. It writes nothing to the console and
 * to no storage: a token lives in this module's memory, and travels to the same origin's other tabs by
 * BroadcastChannel.
 */

/** A caller's request and its retries end after this long. */
const MAX_WAIT = 20_000;
/** One request ends after this long. */
const TIMEOUT = 10_000;
/** Back-off between attempts: doubles from the first to the second of these. */
const FIRST_STEP = 500;
const LAST_STEP = 30_000;
/** Requests that fail together ask again together: so long is one fresh token the answer to all of them. */
const SAME_REFUSAL = 2_000;
/** A token this close to its end (or to a tenth of its life, whichever is less) is not handed out. */
const LAST_MOMENT = 5_000;
/** A lock can be granted before the message that its last holder sent has arrived. */
const MESSAGE_DELAY = 50;
/** Longer time-outs than this wrap around to none at all. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Why there is no token. Never carries one. */
export class TokenError extends Error {
  constructor(kind, message, { cause, ...facts } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "TokenError";
    this.kind = kind;
    for (const fact of ["status", "code", "detail", "requestId", "retryAfter", "errors"]) {
      this[fact] = facts[fact];
    }
  }

  /** Whether the same request can succeed later without anybody changing anything. */
  get transient() {
    return this.kind === "unavailable" || this.kind === "unreachable" || this.kind === "timeout";
  }
}

/** A source of tokens for one user of one app; see `signet.d.ts` for the options. */
export function createTokenSource(options) {
  return new TokenSource(options);
}

/**
 * `chatConfig.JWTAsertion` for the Kore Web SDK (its spelling), whose chat window keeps `botOptions.assertionFn`
 * for itself. `chatWindow` gives the instance, which doesn't exist yet when the configuration is written.
 */
export function koreJwtAssertion(source, chatWindow) {
  return (commit) => {
    source.onTokenRefresh().then(
      (token) => {
        chatWindow().setJWT(token);
        commit();
      },
      () => {}, // the source's onError and onLoginRequired have been told; the SDK takes no error here
    );
  };
}

class TokenSource {
  #settings;
  #held; // the newest reusable token, as #hold makes it
  #oneTime; // undefined until the first answer shows it
  #pending; // the one request that all present callers wait for
  #refusal; // the last transient error and the moment before which it forbids to ask again
  #failures = 0; // since the last success, in whichever call: a server in trouble is asked less and less
  #forgotAt = -Infinity;
  #closed = false;
  #timer;
  #tabs;

  constructor(options) {
    this.#settings = checkedOptions(options);
    this.#oneTime = this.#settings.oneTime;
    if (this.#settings.shareAcrossTabs && this.#oneTime !== true) {
      this.#tabs = openTabs(`signet ${this.#settings.method} ${this.#settings.url}`, (news) => this.#hear(news));
    }
    globalThis.document?.addEventListener("visibilitychange", this.#lookAgain);
  }

  /** A token that is good now: the held one, or a new one. */
  token = async (options) => {
    this.#stillOpen();
    const held = this.#held;
    if (held && Date.now() < held.lastMoment) {
      if (this.#settings.renewAhead && Date.now() >= held.refreshAt) this.#renew();
      return handOut(held);
    }
    return this.#ask(options?.signal);
  };

  /** What a widget calls after a 401: a token that it hasn't had yet. */
  onTokenRefresh = async (options) => {
    this.#stillOpen();
    const held = this.#held;
    const now = Date.now();
    if (held && now < held.lastMoment && (!held.handedOut || now - held.answeredAt < SAME_REFUSAL)) {
      held.answeredAt ??= now;
      return handOut(held);
    }
    const token = await this.#ask(options?.signal);
    if (this.#held?.token === token) this.#held.answeredAt ??= Date.now();
    return token;
  };

  /** KoreBot's `botOptions.assertionFn`: sets `options.assertion`, then calls back. */
  assertionFn = (options, callback) => {
    this.onTokenRefresh().then(
      (token) => {
        options.assertion = token;
        callback(null, options);
      },
      (error) => callback(error),
    );
  };

  /** Drops the token, here and in the other tabs, and gives up on a request under way: for log-in and log-out. */
  forget = () => {
    if (this.#closed) return;
    this.#drop();
    this.#tabs?.tell({ forget: true });
  };

  /** Ends the source: no timer, listener or channel is left, and every call is refused. */
  close = () => {
    if (this.#closed) return;
    this.#drop();
    this.#closed = true;
    this.#tabs?.close();
    globalThis.document?.removeEventListener("visibilitychange", this.#lookAgain);
  };

  #stillOpen() {
    if (this.#closed) throw new TokenError("closed", "this token source was closed");
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#forgotAt = Date.now();
    this.#held = undefined;
    this.#refusal = undefined;
    this.#failures = 0;
    this.#pending?.controller.abort();
    this.#pending = undefined;
  }

  /** A new token for one caller, who may share the request with others and may leave before it ends. */
  async #ask(signal) {
    if (signal?.aborted) throw aborted(signal);
    const work = (this.#pending ??= this.#start());
    const found = await joined(work, signal);
    if (!found.oneTime) return handOut(found);
    if (!work.taken) {
      work.taken = true;
      return found.token;
    }
    return this.#ask(signal); // one token, one use: it went to another caller
  }

  #start() {
    const work = { controller: new AbortController(), waiting: 0, taken: false };
    work.result = this.#tellOfFailure(this.#persist(work.controller.signal)).finally(() => {
      if (this.#pending === work) this.#pending = undefined;
    });
    work.result.catch(() => {}); // each caller gets it; with none left nobody needs it
    return work;
  }

  /** Renews ahead of the end, in the background. */
  #renew() {
    if (this.#pending || this.#closed) return;
    const work = (this.#pending = this.#start());
    work.waiting = Infinity; // callers may leave, the renewal goes on
    work.result.catch((error) => {
      const held = this.#held;
      if (!held || !error.transient) return;
      const wait = Math.max(backOff(this.#failures - 1), (this.#refusal?.until ?? 0) - Date.now());
      if (Date.now() + wait < held.expiresAt) this.#schedule(Date.now() + wait);
    });
  }

  #schedule(at) {
    clearTimeout(this.#timer);
    if (!this.#settings.renewAhead || this.#closed) return;
    this.#timer = setTimeout(() => this.#due(), Math.min(Math.max(at - Date.now(), 0), LONGEST_TIMER));
  }

  #due() {
    // A page that nobody looks at must not keep the user's session alive; it catches up when it is shown.
    if (globalThis.document?.visibilityState !== "hidden") this.#renew();
  }

  #lookAgain = () => {
    if (this.#settings.renewAhead && this.#held && Date.now() >= this.#held.refreshAt) this.#due();
  };

  async #tellOfFailure(attempt) {
    try {
      return await attempt;
    } catch (error) {
      const { onLoginRequired, onError } = this.#settings;
      if (error.kind === "login_required") {
        clearTimeout(this.#timer);
        this.#held = undefined;
        later(onLoginRequired, error);
      }
      if (error.kind !== "aborted") later(onError, error);
      throw error;
    }
  }

  /** Asks until there is an answer, a refusal that will stay one, or no time left. */
  async #persist(signal) {
    const askedAt = Date.now();
    const end = askedAt + this.#settings.maxWait;
    let last = this.#refusal?.error;
    for (let attempt = 0; ; attempt += 1) {
      const now = Date.now();
      const floor = Math.max((this.#refusal?.until ?? 0) - now, 0);
      const wait = floor + (attempt > 0 || floor > 0 ? backOff(this.#failures - 1) : 0);
      if (last && now + wait > end) throw after(last, floor);
      if (wait > 0) await sleep(wait, signal);
      try {
        const found = await this.#oneAtATime(askedAt, signal);
        this.#refusal = undefined;
        this.#failures = 0;
        return found;
      } catch (error) {
        if (!error.transient) throw error;
        this.#failures += 1;
        last = error;
        this.#holdOff(error);
      }
    }
  }

  #holdOff(error) {
    if (error.retryAfter === undefined) return;
    const until = Date.now() + error.retryAfter * 1000;
    if (until > (this.#refusal?.until ?? 0)) this.#refusal = { error, until };
  }

  /** One tab asks at a time, and those that waited take its answer, if it was asked for after they wanted one. */
  async #oneAtATime(askedAt, signal) {
    if (!this.#tabs || this.#oneTime) return this.#request(signal);
    return this.#tabs.inTurn(signal, this.#settings.timeout, async (waited) => {
      if (waited) {
        const news = await this.#tabs.newsSince(askedAt);
        if (news?.error) throw told(news.error);
        if (news) return this.#held?.token === news.token ? this.#held : this.#hold(news);
      }
      return this.#request(signal);
    });
  }

  async #request(signal) {
    const requestedAt = Date.now();
    try {
      const answer = await exchange(this.#settings, signal);
      if (signal?.aborted) throw aborted(signal);
      this.#oneTime = this.#settings.oneTime ?? answer.oneTime;
      if (this.#oneTime) return { token: answer.token, oneTime: true };
      const receivedAt = Date.now();
      const news = {
        token: answer.token,
        requestedAt,
        refreshAt: receivedAt + answer.refreshAfter * 1000,
        expiresAt: receivedAt + answer.expiresIn * 1000,
      };
      this.#tabs?.tell(news);
      return this.#hold(news);
    } catch (error) {
      if (error.transient || error.kind === "login_required") {
        const { kind, message, status, code, detail, requestId, retryAfter } = error;
        this.#tabs?.tell({ requestedAt, error: { kind, message, status, code, detail, requestId, retryAfter } });
      }
      throw error;
    }
  }

  #hold(news) {
    const { token, requestedAt, refreshAt, expiresAt } = news;
    const life = expiresAt - Date.now();
    const lastMoment = expiresAt - Math.min(LAST_MOMENT, life / 10);
    const held = { token, requestedAt, refreshAt, expiresAt, lastMoment, handedOut: false };
    if (life <= 0) return held; // says nothing of its end: good for this one answer
    this.#held = held;
    this.#schedule(refreshAt);
    later(this.#settings.onToken, token);
    return held;
  }

  /** What another tab says. What it asked for after us is what we would have got. */
  #hear(news) {
    if (news.forget) return this.#drop();
    if (!(news.requestedAt > this.#forgotAt)) return;
    if (news.error) return this.#holdOff(told(news.error));
    if (news.requestedAt > (this.#held?.requestedAt ?? -Infinity)) this.#hold(news);
  }
}

function checkedOptions(options = {}) {
  const { url, method = "POST", headers, member, oneTime, onLoginRequired, onToken, onError } = options;
  if (!url) throw new TypeError("createTokenSource needs the url of the token endpoint");
  if (method !== "POST" && method !== "GET") throw new TypeError("method is POST or GET");
  return {
    url: new URL(url, globalThis.document?.baseURI).href,
    method,
    headers,
    member,
    oneTime,
    onLoginRequired,
    onToken,
    onError,
    timeout: options.timeout ?? TIMEOUT,
    maxWait: options.maxWait ?? MAX_WAIT,
    renewAhead: options.renewAhead ?? true,
    // Tabs share cookies, so they share the user; headers of one's own may name another one.
    shareAcrossTabs: options.shareAcrossTabs ?? headers === undefined,
    fetch: options.fetch ?? globalThis.fetch.bind(globalThis),
  };
}

/** One request and its answer, or a TokenError. */
async function exchange({ fetch, url, method, headers, member, timeout }, signal) {
  const controller = new AbortController();
  const stop = () => controller.abort();
  if (signal?.aborted) throw aborted(signal);
  signal?.addEventListener("abort", stop);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    stop();
  }, timeout);
  try {
    const more = typeof headers === "function" ? await headers() : headers;
    const response = await fetch(url, {
      method,
      headers: { accept: "application/json, application/problem+json", ...more },
      credentials: "include",
      cache: "no-store",
      redirect: "manual", // a log-in page is not a token
      signal: controller.signal,
    });
    const body = await readJson(response);
    if (!response.ok) throw refusal(response, body);
    return readAnswer(body, member);
  } catch (cause) {
    if (cause instanceof TokenError) throw cause;
    if (signal?.aborted) throw aborted(signal);
    if (late) throw new TokenError("timeout", `the token endpoint did not answer within ${timeout} ms`, { cause });
    throw new TokenError("unreachable", "the token endpoint cannot be reached", { cause });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

async function readJson(response) {
  if (response.type === "opaqueredirect") return undefined;
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the parser's message would quote the text, which may be a token
  }
}

function refusal(response, body) {
  const { status } = response;
  const problem = isObject(body) ? body : {};
  const facts = {
    status,
    code: text(problem.code) ?? text(problem.error),
    detail: text(problem.detail) ?? text(problem.error_description),
    requestId: text(problem.requestId) ?? response.headers.get("x-request-id") ?? undefined,
    errors: Array.isArray(problem.errors) ? problem.errors : undefined,
    retryAfter: retryAfter(response.headers),
  };
  if (response.type === "opaqueredirect" || (status >= 300 && status < 400)) {
    return new TokenError("bad_answer", "the token endpoint answered with a redirect", facts);
  }
  const kind =
    status === 401
      ? "login_required"
      : status === 408 || status === 425 || status === 429 || status >= 500
        ? "unavailable"
        : "refused";
  return new TokenError(kind, facts.detail ?? `the token endpoint answered ${status}`, facts);
}

/** Seconds to wait, from either form of `Retry-After` (RFC 9110 section 10.2.3). */
function retryAfter(headers) {
  const value = headers.get("retry-after")?.trim();
  if (!value) return undefined;
  if (/^\d+$/.test(value)) return Number(value);
  const now = Date.parse(headers.get("date") ?? "") || Date.now(); // the server's own clock, where it is shown
  const wait = (Date.parse(value) - now) / 1000;
  return Number.isNaN(wait) ? undefined : Math.max(wait, 0);
}

function readAnswer(body, member) {
  const names = member ? [member] : ["token", "jwt", "access_token"];
  const name = isObject(body) ? names.find((each) => text(body[each])) : undefined;
  if (!name) throw new TokenError("bad_answer", `the token endpoint's answer has no ${names.join(", ")}`);
  const token = body[name];
  const claims = unverifiedClaims(token);
  const expiresIn = seconds(body.expiresIn) ?? seconds(body.expires_in) ?? seconds(claims.exp - claims.iat) ?? 0;
  return {
    token,
    expiresIn,
    refreshAfter: seconds(body.refreshAfter) ?? expiresIn * (0.85 + Math.random() * 0.1),
    // Kore refuses a jti that it has seen; in an OAuth access token it is a mere name.
    oneTime: name !== "access_token" && (claims.jti ?? claims.kore_jti) !== undefined,
  };
}

function unverifiedClaims(token) {
  try {
    const base64 = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))));
    return isObject(claims) ? claims : {};
  } catch {
    return {};
  }
}

/** Web Locks and a BroadcastChannel under one name; undefined where the browser or the page's sandbox lacks them. */
function openTabs(name, onNews) {
  const locks = globalThis.navigator?.locks;
  if (!locks || !globalThis.BroadcastChannel) return undefined;
  let channel;
  try {
    channel = new BroadcastChannel(name);
  } catch {
    return undefined;
  }
  let latest;
  let onLatest;
  channel.onmessage = ({ data }) => {
    if (!isNews(data)) return;
    latest = data;
    onNews(data);
    onLatest?.();
  };
  return {
    tell: (news) => channel.postMessage(news),
    close: () => channel.close(),
    /** What another tab's request, begun after `moment`, brought; waits for a message still under way. */
    async newsSince(moment) {
      const fresh = () => (latest?.requestedAt > moment ? latest : undefined);
      if (!fresh()) {
        await new Promise((resolve) => {
          onLatest = () => fresh() && resolve();
          setTimeout(resolve, MESSAGE_DELAY);
        });
        onLatest = undefined;
      }
      return fresh();
    },
    /** Runs `work` when no other tab is at it; after `patience` it runs anyway: a stuck tab must not stop this one. */
    async inTurn(signal, patience, work) {
      let entered = false;
      const enter = (waited) => {
        entered = true;
        return work(waited);
      };
      const controller = new AbortController();
      const stop = () => controller.abort();
      signal?.addEventListener("abort", stop);
      const timer = setTimeout(stop, patience);
      try {
        const free = await locks.request(
          name,
          { ifAvailable: true },
          async (lock) => lock && { result: await enter(false) },
        );
        if (free) return free.result;
        return await locks.request(name, { signal: controller.signal }, () => enter(true));
      } catch (error) {
        if (entered) throw error;
        if (signal?.aborted) throw aborted(signal);
        return await work(false);
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener("abort", stop);
      }
    },
  };
}

function isNews(data) {
  if (!isObject(data)) return false;
  if (data.forget === true) return true;
  if (!Number.isFinite(data.requestedAt)) return false;
  if (isObject(data.error)) return true;
  return text(data.token) !== undefined && Number.isFinite(data.refreshAt) && Number.isFinite(data.expiresAt);
}

function told({ kind, message, ...facts }) {
  return new TokenError(kind, message, facts);
}

/** Waits for shared work; the last caller to leave ends it. */
function joined(work, signal) {
  work.waiting += 1;
  return new Promise((resolve, reject) => {
    const leave = () => {
      reject(aborted(signal));
      work.waiting -= 1;
      if (work.waiting === 0) work.controller.abort();
    };
    signal?.addEventListener("abort", leave, { once: true });
    work.result.then(resolve, reject).finally(() => signal?.removeEventListener("abort", leave));
  });
}

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(aborted(signal));
    };
    const timer = setTimeout(
      () => {
        signal?.removeEventListener("abort", stop);
        resolve();
      },
      Math.min(milliseconds, LONGEST_TIMER),
    );
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Half of the step for certain, half by chance: pages that failed together don't come back together. */
function backOff(attempt) {
  const step = Math.min(FIRST_STEP * 2 ** Math.max(attempt, 0), LAST_STEP);
  return (step * (1 + Math.random())) / 2;
}

function after(error, floor) {
  if (floor > 0) error.retryAfter = Math.ceil(floor / 1000);
  return error;
}

function handOut(held) {
  held.handedOut = true;
  return held.token;
}

function aborted(signal) {
  return new TokenError("aborted", "the request for a token was given up", { cause: signal?.reason });
}

/** Calls the page's own code where its exceptions are the page's: outside of ours. */
function later(callback, argument) {
  if (callback) queueMicrotask(() => callback(argument));
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value) {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function seconds(value) {
  return Number.isFinite(value) && value > 0 ? value : undefined;
}
