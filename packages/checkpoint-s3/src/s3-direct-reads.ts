import type { S3 } from "@aws-sdk/client-s3";
import { systemClock } from "@cairn/kv";
import { dropBody } from "./s3-body.ts";
import { fieldOf, refusalOf } from "./s3-errors.ts";

type HttpRequest = Parameters<S3["config"]["requestHandler"]["handle"]>[0];
type Signer = Awaited<ReturnType<S3["config"]["signer"]>>;

/** The part of a response to GetObject that readers of ranges use, as the SDK names it. */
export interface DirectAnswer {
  readonly Body: unknown;
  readonly ContentRange: string | undefined;
  readonly ETag: string | undefined;
}

/** A successful request of the SDK, which contains all that follows from settings, profiles and the bucket's region. */
interface Sample {
  readonly request: HttpRequest;
  /** The path of the folder of all objects, with the slash at its end. */
  readonly folder: string;
  readonly signer: Promise<Signer>;
  readonly signingRegion: string;
}

/** Headers that belong to one request. The signer replaces its own. */
const OF_ONE_REQUEST = ["amz-sdk-invocation-id", "amz-sdk-request", "range", "if-match"];

/** Other kinds of signatures (of S3 Express, or for several regions) are left to the SDK. */
const SCOPE = /^AWS4-HMAC-SHA256 Credential=[^,]*\/([^/,]+)\/s3\/aws4_request,/;

/**
 * Returns reads that are like the latest request of `s3` for an object below `prefix`: of a range of an object, with the
 * SDK's connections and credentials, but without its middleware, which takes most of the processor time of a small read.
 * The result is undefined before the first request of the SDK, and unless the response is a range: the caller then uses
 * the SDK, which repeats requests, corrects the clock and explains errors.
 */
export function directReads(s3: S3, prefix: string) {
  const { config } = s3;
  let sample: Sample | undefined;
  s3.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        const answer = await next(args);
        const isRead = [200, 206].includes(Number(fieldOf(answer.response, "statusCode")));
        if (isRead && commandName === "GetObjectCommand")
          sample = sampleOf(args.request as HttpRequest, String(fieldOf(args.input, "Key")));
        return answer;
      },
    { step: "deserialize", priority: "low", name: "cairnSample" },
  );

  function sampleOf(sent: HttpRequest, key: string): Sample | undefined {
    const name = key.slice(prefix.length);
    const signingRegion = SCOPE.exec(sent.headers["authorization"] ?? "")?.[1];
    // Names consist of characters that are not encoded in paths.
    if (signingRegion === undefined || !sent.path.endsWith(`/${name}`)) return undefined;
    const request = sent.clone();
    for (const header of OF_ONE_REQUEST) delete request.headers[header];
    // The signer takes the region as an argument, and renews the credentials.
    const scheme = { name: "sigv4", signingName: "s3", signingRegion, properties: {} };
    const signer = sample?.signer ?? config.signer(scheme);
    return { request, folder: sent.path.slice(0, -name.length), signer, signingRegion };
  }

  return async (
    name: string,
    headers: Readonly<Record<string, string>>,
    abortSignal: AbortSignal,
  ): Promise<DirectAnswer | undefined> => {
    if (sample === undefined) return undefined;
    const { folder, signer, signingRegion } = sample;
    const request = sample.request.clone();
    request.path = folder + name;
    Object.assign(request.headers, headers);
    try {
      const signingDate = new Date(systemClock.now() + config.systemClockOffset);
      const signing = { signingRegion, signingService: "s3", signingDate };
      const signed = (await (await signer).sign(request, signing)) as HttpRequest;
      const { response } = await config.requestHandler.handle(signed, { abortSignal });
      const { "content-range": ContentRange, etag: ETag } = response.headers;
      if (response.statusCode === 206) return { Body: response.body, ContentRange, ETag };
      dropBody(response.body);
    } catch (error) {
      abortSignal.throwIfAborted();
      if (refusalOf(error) === undefined) throw error;
    }
    return undefined;
  };
}
