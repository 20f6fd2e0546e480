import { createRequire } from "node:module";
import { CairnError, startTimer } from "@cairn/kv";
import type * as sdk from "@aws-sdk/client-s3";
import { directReads } from "./s3-direct-reads.ts";
import { dropBody } from "./s3-body.ts";
import {
  fieldOf,
  isOfCredentials,
  isOfSettings,
  isTimeLimit,
  NOT_S3_HINT,
  type Refusal,
  refusalOf,
  s3Error,
} from "./s3-errors.ts";
import type { S3Settings } from "./s3-options.ts";
import { sendingHandler, type SendingOptions, sendingTimeout } from "./s3-sending.ts";
import { requireStoreName } from "@cairn/checkpoint";

/** The permission that each request needs, as Amazon names it. */
const PERMISSIONS = {
  abortMultipartUpload: "s3:AbortMultipartUpload",
  completeMultipartUpload: "s3:PutObject",
  createMultipartUpload: "s3:PutObject",
  deleteObject: "s3:DeleteObject",
  getObject: "s3:GetObject",
  headObject: "s3:GetObject and s3:ListBucket",
  listMultipartUploads: "s3:ListBucketMultipartUploads",
  listObjectsV2: "s3:ListBucket",
  putObject: "s3:PutObject",
  uploadPart: "s3:PutObject",
} as const;

/** What S3's response to a request always contains. One without it comes from something else, such as a captive proxy. */
const ALWAYS_RETURNED = {
  createMultipartUpload: "UploadId",
  getObject: "ETag",
  headObject: "ETag",
  putObject: "ETag",
  uploadPart: "ETag",
} as const;

type Request = keyof typeof PERMISSIONS;
/** The arguments of the SDK's method for a request: the input, options, and a callback that receives the output. */
type Arguments<R extends Request> = Parameters<sdk.S3[R]>;
type Output<R extends Request> = NonNullable<Parameters<Arguments<R>[2]>[1]> &
  (R extends keyof typeof ALWAYS_RETURNED
    ? { readonly [field in (typeof ALWAYS_RETURNED)[R]]: string }
    : unknown);

interface S3Call<U> extends SendingOptions {
  /** A participle phrase for messages, such as "writing a.tar". */
  readonly doing: string;
  readonly signal?: AbortSignal | undefined;
  /** Returns a result for a refusal that the caller expects; undefined for any other. */
  readonly unless?: (refusal: Refusal) => U | undefined;
}

/** The connection timeout. A reachable service accepts connections immediately, even if its responses take longer. */
const CONNECT_TIMEOUT_MS = 5_000;

/** How long a request waits for a response before that is told (ms): it fails only after several attempts. */
const SILENCE_MS = 5_000;

/** Is passed on to the SDK's providers of credentials, which otherwise read each of the AWS files once in a process. */
const READ_FILES_AGAIN = { ignoreCache: true };

export type S3Access = ReturnType<typeof s3Access>;

/** Returns a bucket and its client, which is loaded and connected on the first request. */
export function s3Access(settings: S3Settings, notice: (sentence: string) => void) {
  const { location } = settings;
  const silence = toldSilence(settings, notice);
  let client: ReturnType<typeof connect> | undefined;
  let lastDate: number | undefined;
  // Aborts requests without a signal of their own. Replaced after each close, because the store may be used again.
  let closing = new AbortController();
  return {
    settings,
    key(name: string): string {
      requireStoreName(name);
      return settings.prefix + name;
    },
    /** Sends a request about the bucket. Throws a store's error, or the signal's reason unless that is a time limit. */
    async call<R extends Request, U = never>(
      request: R,
      input: Omit<Arguments<R>[0], "Bucket">,
      { doing, signal, unless, onSent }: S3Call<U>,
    ): Promise<Output<R> | U> {
      const abortSignal = signal ?? closing.signal;
      const explained = (error: unknown): unknown =>
        s3Error(error, { ...settings, doing, permission: PERMISSIONS[request] });
      const throwIfAborted = (): void => {
        if (isTimeLimit(abortSignal.reason)) throw explained(abortSignal.reason);
        abortSignal.throwIfAborted();
      };
      throwIfAborted();
      client ??= connect(settings, notice, (date) => void (lastDate = date));
      const { s3 } = await client;
      // Sending a body may take any time.
      const heard = "Body" in input ? undefined : silence.expect(doing);
      const send = s3[request] as (input: object, options: object) => Promise<Output<R>>;
      try {
        const output = await send.call(s3, { Bucket: settings.bucket, ...input }, { abortSignal, onSent });
        silence.end();
        const field = fieldOf(ALWAYS_RETURNED, request);
        if (typeof field !== "string" || fieldOf(output, field) !== undefined) return output;
        if (request === "getObject") dropBody(fieldOf(output, "Body"));
        throw unexpectedResponse(location, doing, `the response has no ${field}`);
      } catch (error) {
        throwIfAborted();
        const refusal = refusalOf(error);
        if (refusal !== undefined) silence.end();
        const meant = refusal === undefined ? undefined : unless?.(refusal);
        if (meant !== undefined) return meant;
        renewRefused(s3, error);
        throw explained(error);
      } finally {
        heard?.();
      }
    },
    async readDirectly(name: string, headers: Record<string, string>, signal: AbortSignal = closing.signal) {
      return await (await client)?.read(name, headers, signal);
    },
    // The body was interrupted. Settings that the SDK refuses cannot be the reason once there is a response.
    explain: (error: unknown, doing: string): unknown =>
      isOfSettings(error) ? error : s3Error(error, { ...settings, doing, permission: PERMISSIONS.getObject }),
    /** Returns the signal of requests without one of their own, which is aborted when the store is closed. */
    closing: (): AbortSignal => closing.signal,
    /** Returns the date of the service's last response (milliseconds since 1970). */
    lastDate: (): number | undefined => lastDate,
    async close(): Promise<void> {
      const made = client;
      client = undefined;
      // Retries of a request would keep the process alive long after its result is useful.
      const message = `The checkpoint store ${location} was closed before it responded.`;
      const hint = "Repeat the operation once the program runs again: it is stopping.";
      closing.abort(new CairnError("STORE_UNREACHABLE", message, hint));
      closing = new AbortController();
      // If the client could not be created, its callers have received the error.
      await made?.then(
        ({ s3 }) => s3.destroy(),
        () => undefined,
      );
    },
  };
}

/** Tells once that the service is silent, until something is heard from it. */
function toldSilence(
  { location, maxAttempts, requestTimeout }: S3Settings,
  notice: (sentence: string) => void,
) {
  let isTold = false;
  return {
    /** Returns the function to call when the request `doing` has ended. */
    expect: (doing: string) =>
      startTimer(SILENCE_MS, () => {
        if (!isTold)
          notice(
            `${location} has not responded for ${SILENCE_MS / 1_000} s while ${doing}. The request fails after up to ${maxAttempts} attempts of ${requestTimeout / 1_000} s.`,
          );
        isTold = true;
      }),
    end(): void {
      isTold = false;
    },
  };
}

/** Reads credentials again that were refused. The SDK keeps keys that do not expire, but their file may have changed. */
function renewRefused(s3: sdk.S3, error: unknown): void {
  if (isOfCredentials(error)) s3.config.credentials({ forceRefresh: true }).catch(() => undefined);
}

/**
 * Only this function loads the SDK, because it is large and most processes have no store in S3. It is CommonJS, for which
 * `import` would first search its source for the names that it exports, which takes as long as everything else.
 */
async function connect(
  settings: S3Settings,
  notice: (sentence: string) => void,
  onDate: (date: number) => void,
) {
  // The SDK would warn about the next major version of Node, which does not concern operators.
  process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] ??= "true";
  const { S3 } = createRequire(import.meta.url)("@aws-sdk/client-s3") as typeof sdk;
  const { credentials, endpoint, region, requestTimeout, concurrency } = settings;
  const checksums = settings.checksums === "when-supported" ? "WHEN_SUPPORTED" : "WHEN_REQUIRED";
  // This number of sockets suffices for two transfers, and besides for 32 requests that are small and wait for the line.
  const agent = { keepAlive: true, maxSockets: 2 * concurrency + 32 };
  const clientOf = (socketTimeout: number): sdk.S3 =>
    new S3({
      ...READ_FILES_AGAIN,
      ...(region === undefined ? {} : { region }),
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(credentials === undefined ? {} : "profile" in credentials ? credentials : { credentials }),
      forcePathStyle: settings.forcePathStyle,
      maxAttempts: settings.maxAttempts,
      requestChecksumCalculation: checksums,
      responseChecksumValidation: checksums,
      // Omitting this saves a round trip per part. A refusal would have arrived when the upload began.
      expectContinueHeader: false,
      customUserAgent: "cairn",
      requestHandler: {
        connectionTimeout: Math.min(CONNECT_TIMEOUT_MS, requestTimeout),
        // Limits silence instead of whole requests, because a large part may take long on a slow connection.
        socketTimeout,
        httpAgent: agent,
        httpsAgent: agent,
      },
    });
  const s3 = clientOf(requestTimeout);
  const idleMs = sendingTimeout(settings);
  s3.config.requestHandler = sendingHandler(
    s3.config.requestHandler,
    clientOf(idleMs).config.requestHandler,
    () =>
      notice(
        `A connection on which data was sent to ${settings.location} was idle for ${idleMs / 1_000} s, so the request is sent again. If the network to it is slow, raise the store's request-timeout.`,
      ),
  );
  s3.middlewareStack.add(
    (next) => async (args) => {
      const answer = await next(args);
      const date = Date.parse(String(fieldOf(fieldOf(answer.response, "headers"), "date")));
      if (!Number.isNaN(date)) onDate(date);
      return answer;
    },
    // The middleware is the innermost step, so that refusals also pass through it.
    { step: "deserialize", priority: "low", name: "cairnDate" },
  );
  return { s3, read: directReads(s3, settings.prefix) };
}

export function unexpectedResponse(location: string, doing: string, what: string): CairnError {
  const message = `The checkpoint store ${location} failed while ${doing}: ${what}.`;
  return new CairnError("STORE_UNREACHABLE", message, NOT_S3_HINT);
}
