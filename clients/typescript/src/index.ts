/** Typed client of Runner Service. The generated messages and services are exported beside it. */
export { type ClientOptions, type FollowOptions, RunnerClient, seconds } from "./client.js";
export { type FieldViolation, RunnerError } from "./errors.js";
export * from "./gen/runner/v1/command_pb.js";
export * from "./gen/runner/v1/job_pb.js";
export * from "./gen/runner/v1/log_pb.js";
export * from "./gen/runner/v1/outcome_pb.js";
export * from "./gen/runner/v1/runner_pb.js";
