// What a page in TypeScript writes with @signet/browser, compiled but not run.
import {
  createTokenSource,
  koreJwtAssertion,
  TokenError,
  type TokenErrorKind,
} from "../../../clients/browser/signet.js";

const source = createTokenSource({
  url: "/api/support/token",
  onLoginRequired: ({ kind, requestId }) => void ([kind, requestId] satisfies [TokenErrorKind, string | undefined]),
});

export const refresh: () => Promise<string> = source.onTokenRefresh;

export const chatConfig: { JWTAsertion?: (commit: () => void) => void } = {};
chatConfig.JWTAsertion = koreJwtAssertion(source, () => ({ setJWT: (token: string) => void token }));

source.assertionFn({ assertion: "", clientId: "cs-1" }, (error, options) => {
  if (error instanceof TokenError && error.kind === "unavailable") error.retryAfter?.toFixed();
  options?.clientId.trim();
});

// @ts-expect-error: where to ask can't be left out
createTokenSource({});
// @ts-expect-error: only the source makes its errors
new TokenError("timeout");
