/** Why there is no token:
 * - `login_required`: the session is missing or over (401); nothing is retried
 * - `refused`: any other 4xx; `code` says which
 * - `unavailable`: 408, 425, 429 or 5xx, after the retries that `maxWait` leaves room for
 * - `unreachable`, `timeout`: no answer at all
 * - `bad_answer`: a redirect, or an answer without a token in it
 * - `aborted`: the caller's signal, or `forget()`
 * - `closed`: the source was closed before the call
 */
export type TokenErrorKind =
  "login_required" | "refused" | "unavailable" | "unreachable" | "timeout" | "bad_answer" | "aborted" | "closed";

/** What a promise for a token is rejected with; it never carries a token. */
export class TokenError extends Error {
  private constructor();
  readonly name: "TokenError";
  readonly kind: TokenErrorKind;
  /** The HTTP status, where there was an answer. */
  readonly status?: number;
  /** signet's code, such as `rate_limited` or `origin_not_allowed`. */
  readonly code?: string;
  /** signet's sentence on what went wrong. */
  readonly detail?: string;
  /** To find the request in the server's log. */
  readonly requestId?: string;
  /** Seconds until asking again can help. */
  readonly retryAfter?: number;
  /** One item per member at fault; `msg` and `code` for a Kore app. */
  readonly errors?: ReadonlyArray<{ pointer?: string; detail?: string; msg?: string; code?: number }>;
  /** Whether the same request can succeed later without anybody changing anything. */
  readonly transient: boolean;
}

export interface TokenSourceOptions {
  /** signet's browser endpoint, such as `/api/support/token`; relative to the page. */
  url: string | URL;
  /** `POST` by default. */
  method?: "POST" | "GET";
  /** Headers of one's own, such as a session's bearer token; asked for at every request when a function. Turns
   * `shareAcrossTabs` off unless that is set. Cross-origin they cost a preflight. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** The answer's member that holds the token; by default `token`, `jwt` or `access_token`. */
  member?: string;
  /** One-time tokens are never kept, shared or handed out twice. By default a token with a `jti` is one-time, unless it
   * came as `access_token`. */
  oneTime?: boolean;
  /** Renew at the answer's `refreshAfter` while the page is visible. `true` by default. */
  renewAhead?: boolean;
  /** One request for all tabs of this origin, where Web Locks and BroadcastChannel exist. `true` by default. */
  shareAcrossTabs?: boolean;
  /** Milliseconds for one request. 10,000 by default. */
  timeout?: number;
  /** Milliseconds for a call with all its retries. 20,000 by default. */
  maxWait?: number;
  /** The session is over: show the log-in. Nothing more is asked for until the next call. */
  onLoginRequired?: (error: TokenError) => void;
  /** A new token is held, renewed here or in another tab: for a widget's `updateJwt`. Not called for one-time tokens. */
  onToken?: (token: string) => void;
  /** Told of every failure, of renewals in the background too. */
  onError?: (error: TokenError) => void;
  /** Stands in for the global `fetch`. */
  fetch?: typeof fetch;
}

/** Its functions need no `this`: hand them over as they are. Each promise gives a non-empty string or rejects with a
 * `TokenError`. */
export interface TokenSource {
  /** A token that is good now: the held one until it ends, else a new one. */
  readonly token: (options?: { signal?: AbortSignal }) => Promise<string>;
  /** The widget's `onTokenRefresh`: a token that it hasn't had yet. */
  readonly onTokenRefresh: (options?: { signal?: AbortSignal }) => Promise<string>;
  /** KoreBot's `botOptions.assertionFn`: sets `options.assertion` and calls back with `(null, options)`, or with the error. */
  readonly assertionFn: <Options extends { assertion?: unknown }>(
    options: Options,
    callback: (error: TokenError | null, options?: Options) => void,
  ) => void;
  /** Drops the token, in the other tabs too, and gives up on requests under way: call it at log-in and log-out. */
  readonly forget: () => void;
  /** Ends the source: no timer, listener or channel is left. */
  readonly close: () => void;
}

export function createTokenSource(options: TokenSourceOptions): TokenSource;

/** `chatConfig.JWTAsertion` (the SDK's spelling) for the Kore Web SDK's chat window. */
export function koreJwtAssertion(
  source: TokenSource,
  chatWindow: () => { setJWT(token: string): void },
): (commit: () => void) => void;
