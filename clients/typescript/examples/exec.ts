/**
 * Runs a command and is as it: prints what it prints while it runs, and exits with its code.
 *
 *     RUNNER_SERVER=127.0.0.1:50051 node dist/examples/exec.js sh -c 'echo hello; exit 7'
 */
import { once } from "node:events";
import type { Writable } from "node:stream";
import { RunnerClient, RunnerError } from "../src/index.js";

const writing = (stream: Writable) => async (data: Uint8Array) => {
  if (!stream.write(data)) await once(stream, "drain");
};

const { RUNNER_SERVER: server = "127.0.0.1:50051", RUNNER_TOKEN: token } = process.env;
const client = new RunnerClient({ baseUrl: `http://${server}`, ...(token && { token }) });
try {
  const end = await client.runAndStream(process.argv.slice(2), {
    stdout: writing(process.stdout),
    stderr: writing(process.stderr),
  });
  const { exitCode, signal } = end.outcome ?? {};
  process.exitCode = exitCode ?? (signal ? 128 + signal : 1);
} catch (error) {
  if (!(error instanceof RunnerError)) throw error;
  console.error(`${error.reason}: ${error.message}`);
  process.exitCode = 125;
}
