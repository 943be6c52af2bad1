import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** One field that the server refused. */
export interface FieldViolation {
  field: string;
  description: string;
}

/**
 * A call failed. `message` is a sentence that says what to do, `reason` a stable word for programs (docs/reference/errors.md)
 * and `metadata` its particulars, all from the server where it said something.
 */
export class RunnerError extends Error {
  override readonly name = "RunnerError";
  readonly code: Code;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly FieldViolation[];
  /** Milliseconds after which the server wants to be asked again. */
  readonly retryAfterMs: number | undefined;

  constructor(cause: ConnectError) {
    super(cause.rawMessage, { cause });
    const info = cause.findDetails(ErrorInfoSchema)[0];
    const delay = cause.findDetails(RetryInfoSchema)[0]?.retryDelay;
    this.code = cause.code;
    this.reason = info?.reason ?? Code[cause.code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
    this.metadata = info?.metadata ?? {};
    this.violations = cause
      .findDetails(BadRequestSchema)
      .flatMap((request) => request.fieldViolations)
      .map(({ field, description }) => ({ field, description }));
    this.retryAfterMs = delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6;
  }

  /** Whether the server is away, so that the same call made again can succeed without anybody doing anything. */
  get retryable(): boolean {
    return this.code === Code.Unavailable;
  }

  /** Makes a RunnerError of whatever a call threw; what is none of a call's is thrown on. */
  static of(thrown: unknown): RunnerError {
    if (thrown instanceof RunnerError) return thrown;
    if (!(thrown instanceof ConnectError)) throw thrown;
    return new RunnerError(isCut(thrown) ? new ConnectError(thrown.rawMessage, Code.Unavailable, undefined, undefined, thrown) : thrown);
  }
}

/**
 * Whether the connection broke: of a stream that is cut, Node's HTTP/2 says CANCELED or INTERNAL. A server that means
 * INTERNAL attaches details, and of a cancel of the caller's own nobody asks: see `Retry.pause`.
 */
function isCut(error: ConnectError): boolean {
  return error.code === Code.Canceled || (error.code === Code.Internal && error.details.length === 0);
}
