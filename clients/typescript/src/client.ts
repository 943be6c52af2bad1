import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { DurationSchema, type Duration } from "@bufbuild/protobuf/wkt";
import { type CallOptions, type Client, Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { RunnerError } from "./errors.js";
import type { Command } from "./gen/runner/v1/command_pb.js";
import { CommandService, type RunCommandRequestSchema } from "./gen/runner/v1/command_service_pb.js";
import type { Job, JobEvent } from "./gen/runner/v1/job_pb.js";
import { type CreateJobRequestSchema, JobService, type ListJobsRequestSchema } from "./gen/runner/v1/job_service_pb.js";
import { type LogEnd, LogRecord_Stream } from "./gen/runner/v1/log_pb.js";
import { LogStreamService, type StreamLogsResponse } from "./gen/runner/v1/log_stream_service_pb.js";
import type { Runner } from "./gen/runner/v1/runner_pb.js";
import { RunnerService } from "./gen/runner/v1/runner_service_pb.js";
import { CAP_MS, Retry } from "./retry.js";

/** How long one WaitJob parks at the server; {@link RunnerClient.wait} makes as many as it needs. */
const WAIT_SECONDS = 60;
const CALL_MS = 30_000;

export interface ClientOptions {
  /** Where the gRPC port is: `http://HOST:PORT`, with TLS `https://HOST:PORT`. Default `http://127.0.0.1:50051`. */
  baseUrl?: string;
  /** A key or a token; sent as `authorization: Bearer …`. */
  token?: string;
  /** For TLS: certificates and the like, as Node's `tls.connect` takes them. */
  nodeOptions?: Record<string, unknown>;
  /** Milliseconds for which a server that goes away is waited for. Default 120,000. */
  patienceMs?: number;
  /** The same for a server that has never answered. Default 5,000. */
  connectPatienceMs?: number;
}

export interface FollowOptions {
  /** Begin behind this cursor. Default: the first record. */
  cursor?: string;
  /** Go on live until the job has ended. Default true; false stops at what is there now. */
  follow?: boolean;
  /** Only these streams. Default: all. */
  streams?: LogRecord_Stream[];
  signal?: AbortSignal;
}

/** Seconds as the API has them. */
export function seconds(value: number): Duration {
  const whole = Math.trunc(value);
  return create(DurationSchema, { seconds: BigInt(whole), nanos: Math.round((value - whole) * 1e9) });
}

/**
 * One server. All calls are safe to make twice (mutations bear a request id), and made again while the server is away;
 * streams go on where they were cut. Calls that fail throw {@link RunnerError}.
 *
 * What has no method here is called through the typed stubs: `commands`, `jobs`, `logs`, `runners`.
 */
export class RunnerClient {
  readonly commands: Client<typeof CommandService>;
  readonly jobs: Client<typeof JobService>;
  readonly logs: Client<typeof LogStreamService>;
  readonly runners: Client<typeof RunnerService>;
  readonly #patienceMs: number;
  readonly #connectPatienceMs: number;
  #reached = false;

  constructor(options: ClientOptions = {}) {
    const { baseUrl = "http://127.0.0.1:50051", token, nodeOptions, patienceMs = 120_000, connectPatienceMs = 5_000 } = options;
    const interceptors: Interceptor[] = token ? [bearing(token)] : [];
    const transport = createGrpcTransport({ baseUrl, interceptors, ...(nodeOptions && { nodeOptions }) });
    this.commands = createClient(CommandService, transport);
    this.jobs = createClient(JobService, transport);
    this.logs = createClient(LogStreamService, transport);
    this.runners = createClient(RunnerService, transport);
    this.#patienceMs = patienceMs;
    this.#connectPatienceMs = connectPatienceMs;
  }

  /** Queues a command and returns it at once, or with `wait` once it has ended, or as it stands after so long. */
  async run(argv: string[], request: MessageInitShape<typeof RunCommandRequestSchema> = {}): Promise<Command> {
    const asked = { requestId: randomUUID(), ...request, argv };
    const waits = Number(request.wait?.seconds ?? 0) * 1000;
    const reply = await this.#unary((options) => this.commands.runCommand(asked, options), { timeoutMs: CALL_MS + waits });
    return reply.command!;
  }

  /** Queues a job and returns it at once. */
  async createJob(request: MessageInitShape<typeof CreateJobRequestSchema>): Promise<Job> {
    const asked = { requestId: randomUUID(), ...request };
    return (await this.#unary((options) => this.jobs.createJob(asked, options))).job!;
  }

  /** One job, of any kind and dialect. */
  async getJob(jobId: string): Promise<Job> {
    return (await this.#unary((options) => this.jobs.getJob({ jobId }, options))).job!;
  }

  /** Jobs, newest first, page by page. */
  async *listJobs(request: MessageInitShape<typeof ListJobsRequestSchema> = {}): AsyncGenerator<Job> {
    let pageToken = request.pageToken ?? "";
    do {
      const page = await this.#unary((options) => this.jobs.listJobs({ ...request, pageToken }, options));
      yield* page.jobs;
      pageToken = page.nextPageToken;
    } while (pageToken);
  }

  /** Asks for a job or a command to be ended. */
  async cancel(jobId: string, reason = ""): Promise<Job> {
    return (await this.#unary((options) => this.jobs.cancelJob({ jobId, reason }, options))).job!;
  }

  /** Queues a new job of what one that has ended was asked to do, and returns the new one. */
  async retry(jobId: string): Promise<Job> {
    const asked = { jobId, requestId: randomUUID() };
    return (await this.#unary((options) => this.jobs.retryJob(asked, options))).job!;
  }

  /** The job once it has ended, however long that takes; bound it with `signal`. */
  async wait(jobId: string, signal?: AbortSignal): Promise<Job> {
    const asked = { jobId, timeout: seconds(WAIT_SECONDS) };
    for (;;) {
      const limits = { timeoutMs: CALL_MS + WAIT_SECONDS * 1000, ...(signal && { signal }) };
      const job = (await this.#unary((options) => this.jobs.waitJob(asked, options), limits)).job!;
      if (job.finishTime) return job;
    }
  }

  /**
   * The log of a job, without a gap or a duplicate; the last message has `end`. Cut streams are resumed behind the last
   * message. To go on in another process, keep the `cursor` of the last message that was dealt with whole.
   */
  follow(jobId: string, options: FollowOptions = {}): AsyncGenerator<StreamLogsResponse> {
    const { cursor = "", follow = true, streams = [], signal } = options;
    const request = { jobId, cursor, follow, streams };
    const passed = (message: StreamLogsResponse): boolean => {
      request.cursor = message.cursor || request.cursor;
      return message.end !== undefined;
    };
    return this.#stream((call) => this.logs.streamLogs(request, call), passed, signal);
  }

  /** The moves of one job up to its end, or without an id of all jobs for ever, behind the event `after`. */
  async *watch(jobId = "", after = 0n, signal?: AbortSignal): AsyncGenerator<JobEvent> {
    const request = { jobId, after };
    const messages = this.#stream(
      (call) => this.jobs.watchJobs(request, call),
      ({ event }) => {
        request.after = event!.sequence;
        return jobId !== "" && event!.kind === "finished";
      },
      signal,
    );
    for await (const { event } of messages) yield event!;
  }

  /** Runs a command, hands its output out as it is written, and returns how it ended. */
  async runAndStream(
    argv: string[],
    output: { stdout: (data: Uint8Array) => unknown; stderr: (data: Uint8Array) => unknown },
    request: MessageInitShape<typeof RunCommandRequestSchema> = {},
  ): Promise<LogEnd> {
    const { jobId } = await this.run(argv, request);
    let end: LogEnd | undefined;
    for await (const message of this.follow(jobId)) {
      for (const { stream, data } of message.records) {
        await (stream === LogRecord_Stream.STDERR ? output.stderr(data) : output.stdout(data));
      }
      end = message.end;
    }
    return end!;
  }

  /** All runners, in order of name. */
  async listRunners(): Promise<Runner[]> {
    const found: Runner[] = [];
    let pageToken = "";
    do {
      const page = await this.#unary((options) => this.runners.listRunners({ pageSize: 1000, pageToken }, options));
      found.push(...page.runners);
      pageToken = page.nextPageToken;
    } while (pageToken);
    return found;
  }

  #retry(signal?: AbortSignal): Retry {
    return new Retry(this.#reached ? this.#patienceMs : this.#connectPatienceMs, signal);
  }

  async #unary<Reply>(call: (options: CallOptions) => Promise<Reply>, limits: CallOptions = {}): Promise<Reply> {
    const retry = this.#retry(limits.signal);
    for (;;) {
      try {
        const reply = await call({ timeoutMs: CALL_MS, ...limits });
        this.#reached = true;
        return reply;
      } catch (thrown) {
        await retry.pause(this.#met(thrown));
      }
    }
  }

  async *#stream<Message>(
    open: (options: CallOptions) => AsyncIterable<Message>,
    passed: (message: Message) => boolean,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Message> {
    let retry = this.#retry(signal);
    for (;;) {
      const opened = performance.now();
      let cut: RunnerError;
      try {
        for await (const message of open(signal ? { signal } : {})) {
          if (!this.#reached) {
            this.#reached = true;
            retry = this.#retry(signal);
          }
          retry.progress();
          yield message;
          if (passed(message)) return;
        }
        cut = new RunnerError(new ConnectError("The stream stopped before its end.", Code.Unavailable));
      } catch (thrown) {
        cut = this.#met(thrown);
      }
      // A stream that was open for long was quiet, not away: patience counts from this cut.
      if (performance.now() - opened > CAP_MS) retry.progress();
      await retry.pause(cut);
    }
  }

  #met(thrown: unknown): RunnerError {
    const error = RunnerError.of(thrown);
    // Only a server that is there can send another code.
    this.#reached ||= !error.retryable;
    return error;
  }
}

function bearing(token: string): Interceptor {
  return (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
}
