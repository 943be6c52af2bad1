import { setTimeout as sleep } from "node:timers/promises";
import type { RunnerError } from "./errors.js";

const BASE_MS = 100;
/** Pauses grow to this: a server that restarts is found again within it. */
export const CAP_MS = 2_000;

/**
 * The retries of one call or one stream, with jitter. Patience is counted from the first failure since there was progress.
 */
export class Retry {
  #failures = 0;
  #since = 0;

  constructor(
    private readonly patienceMs: number,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** Something arrived: patience begins anew. */
  progress(): void {
    this.#failures = 0;
  }

  /** Sleeps before the next try; throws `error` where another try is of no use, or patience is over. */
  async pause(error: RunnerError): Promise<void> {
    const now = performance.now();
    if (this.#failures === 0) this.#since = now;
    const ceiling = Math.min(CAP_MS, BASE_MS * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 30);
    const delay = Math.max((ceiling * (1 + Math.random())) / 2, error.retryAfterMs ?? 0);
    if (this.signal?.aborted || !error.retryable || now + delay > this.#since + this.patienceMs) throw error;
    await sleep(delay, undefined, this.signal && { signal: this.signal });
  }
}
