// Package runner is a typed client of Runner Service: commands, jobs and their logs over gRPC.
package runner

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	runnerv1 "runner-service/clients/go/gen/runner/v1"
)

const (
	// waitTime is how long one WaitJob parks at the server; Wait makes as many as it needs.
	waitTime = time.Minute
	callTime = 30 * time.Second
)

// Client is one server. All its calls are safe to make twice (mutations bear a request id), and made again while the server
// is away; streams go on where they were cut. Calls that fail return an *Error, or the error of their context.
//
// What has no method here is called through the typed stubs.
type Client struct {
	Commands runnerv1.CommandServiceClient
	Jobs     runnerv1.JobServiceClient
	Logs     runnerv1.LogStreamServiceClient
	Runners  runnerv1.RunnerServiceClient

	// Patience is for how long a server that goes away is waited for.
	Patience time.Duration
	// ConnectPatience is the same for a server that has never answered.
	ConnectPatience time.Duration

	reached int32
}

// New makes the client of the server that conn is connected with; for its credential dial with
// grpc.WithPerRPCCredentials(runner.Token(…)).
func New(conn grpc.ClientConnInterface) *Client {
	return &Client{
		Commands:        runnerv1.NewCommandServiceClient(conn),
		Jobs:            runnerv1.NewJobServiceClient(conn),
		Logs:            runnerv1.NewLogStreamServiceClient(conn),
		Runners:         runnerv1.NewRunnerServiceClient(conn),
		Patience:        2 * time.Minute,
		ConnectPatience: 5 * time.Second,
	}
}

// Token is a key or a token of the service, as credentials.PerRPCCredentials.
type Token string

// GetRequestMetadata is part of credentials.PerRPCCredentials.
func (t Token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}

// RequireTransportSecurity is part of credentials.PerRPCCredentials: servers on loopback speak without TLS.
func (Token) RequireTransportSecurity() bool { return false }

// Run queues a command and returns it at once, or with Wait once it has ended, or as it stands after so long.
func (c *Client) Run(ctx context.Context, request *runnerv1.RunCommandRequest) (*runnerv1.Command, error) {
	asked := proto.Clone(request).(*runnerv1.RunCommandRequest)
	asked.RequestId = orNew(asked.RequestId)
	var reply *runnerv1.RunCommandResponse
	err := c.unary(ctx, callTime+asked.Wait.AsDuration(), func(ctx context.Context) (err error) {
		reply, err = c.Commands.RunCommand(ctx, asked)
		return err
	})
	return reply.GetCommand(), err
}

// CreateJob queues a job and returns it at once.
func (c *Client) CreateJob(ctx context.Context, request *runnerv1.CreateJobRequest) (*runnerv1.Job, error) {
	asked := proto.Clone(request).(*runnerv1.CreateJobRequest)
	asked.RequestId = orNew(asked.RequestId)
	var reply *runnerv1.CreateJobResponse
	err := c.unary(ctx, callTime, func(ctx context.Context) (err error) {
		reply, err = c.Jobs.CreateJob(ctx, asked)
		return err
	})
	return reply.GetJob(), err
}

// GetJob returns one job, of any kind and dialect.
func (c *Client) GetJob(ctx context.Context, jobID string) (*runnerv1.Job, error) {
	var reply *runnerv1.GetJobResponse
	err := c.unary(ctx, callTime, func(ctx context.Context) (err error) {
		reply, err = c.Jobs.GetJob(ctx, &runnerv1.GetJobRequest{JobId: jobID})
		return err
	})
	return reply.GetJob(), err
}

// ListJobs hands out jobs, newest first, page by page, until each returns an error, which it then returns.
func (c *Client) ListJobs(
	ctx context.Context, request *runnerv1.ListJobsRequest, each func(*runnerv1.Job) error,
) error {
	asked := proto.Clone(request).(*runnerv1.ListJobsRequest)
	for {
		var page *runnerv1.ListJobsResponse
		err := c.unary(ctx, callTime, func(ctx context.Context) (err error) {
			page, err = c.Jobs.ListJobs(ctx, asked)
			return err
		})
		if err != nil {
			return err
		}
		for _, job := range page.Jobs {
			if err := each(job); err != nil {
				return err
			}
		}
		if asked.PageToken = page.NextPageToken; asked.PageToken == "" {
			return nil
		}
	}
}

// Cancel asks for a job or a command to be ended.
func (c *Client) Cancel(ctx context.Context, jobID, reason string) (*runnerv1.Job, error) {
	var reply *runnerv1.CancelJobResponse
	err := c.unary(ctx, callTime, func(ctx context.Context) (err error) {
		reply, err = c.Jobs.CancelJob(ctx, &runnerv1.CancelJobRequest{JobId: jobID, Reason: reason})
		return err
	})
	return reply.GetJob(), err
}

// Retry queues a new job of what one that has ended was asked to do, and returns the new one.
func (c *Client) Retry(ctx context.Context, jobID string) (*runnerv1.Job, error) {
	asked := &runnerv1.RetryJobRequest{JobId: jobID, RequestId: orNew("")}
	var reply *runnerv1.RetryJobResponse
	err := c.unary(ctx, callTime, func(ctx context.Context) (err error) {
		reply, err = c.Jobs.RetryJob(ctx, asked)
		return err
	})
	return reply.GetJob(), err
}

// Wait returns the job once it has ended, however long that takes; bound it with ctx.
func (c *Client) Wait(ctx context.Context, jobID string) (*runnerv1.Job, error) {
	asked := &runnerv1.WaitJobRequest{JobId: jobID, Timeout: durationpb.New(waitTime)}
	for {
		var reply *runnerv1.WaitJobResponse
		err := c.unary(ctx, callTime+waitTime, func(ctx context.Context) (err error) {
			reply, err = c.Jobs.WaitJob(ctx, asked)
			return err
		})
		if err != nil || reply.Job.FinishTime != nil {
			return reply.GetJob(), err
		}
	}
}

// Follow hands out the log of a job, without a gap or a duplicate, and returns its end. Cut streams are resumed behind the
// last message. To go on in another process, keep the cursor of the last message that was dealt with whole. An error of
// each ends it and is returned.
func (c *Client) Follow(
	ctx context.Context, request *runnerv1.StreamLogsRequest, each func(*runnerv1.StreamLogsResponse) error,
) (*runnerv1.LogEnd, error) {
	asked := proto.Clone(request).(*runnerv1.StreamLogsRequest)
	var end *runnerv1.LogEnd
	err := c.stream(ctx, func(ctx context.Context, progress func()) (bool, error) {
		stream, err := c.Logs.StreamLogs(ctx, asked)
		if err != nil {
			return false, err
		}
		for {
			message, err := stream.Recv()
			if err != nil {
				return false, err
			}
			progress()
			if err := each(message); err != nil {
				return true, err
			}
			if message.Cursor != "" {
				asked.Cursor = message.Cursor
			}
			if end = message.End; end != nil {
				return true, nil
			}
		}
	})
	return end, err
}

// Watch hands out the moves of one job up to its end, or without an id of all jobs for ever, behind the event after. An
// error of each ends it and is returned.
func (c *Client) Watch(ctx context.Context, jobID string, after int64, each func(*runnerv1.JobEvent) error) error {
	asked := &runnerv1.WatchJobsRequest{JobId: jobID, After: after}
	return c.stream(ctx, func(ctx context.Context, progress func()) (bool, error) {
		stream, err := c.Jobs.WatchJobs(ctx, asked)
		if err != nil {
			return false, err
		}
		for {
			message, err := stream.Recv()
			if err != nil {
				return false, err
			}
			progress()
			if err := each(message.Event); err != nil {
				return true, err
			}
			asked.After = message.Event.Sequence
			if jobID != "" && message.Event.Kind == "finished" {
				return true, nil
			}
		}
	})
}

// RunAndStream runs a command, writes its output as it is written, and returns how it ended.
func (c *Client) RunAndStream(
	ctx context.Context, request *runnerv1.RunCommandRequest, stdout, stderr io.Writer,
) (*runnerv1.LogEnd, error) {
	command, err := c.Run(ctx, request)
	if err != nil {
		return nil, err
	}
	following := &runnerv1.StreamLogsRequest{JobId: command.JobId, Follow: true}
	return c.Follow(ctx, following, func(message *runnerv1.StreamLogsResponse) error {
		for _, record := range message.Records {
			to := stdout
			if record.Stream == runnerv1.LogRecord_STREAM_STDERR {
				to = stderr
			}
			if _, err := to.Write(record.Data); err != nil {
				return err
			}
		}
		return nil
	})
}

// ListRunners returns all runners, in order of name.
func (c *Client) ListRunners(ctx context.Context) ([]*runnerv1.Runner, error) {
	asked := &runnerv1.ListRunnersRequest{PageSize: 1000}
	var found []*runnerv1.Runner
	for {
		var page *runnerv1.ListRunnersResponse
		err := c.unary(ctx, callTime, func(ctx context.Context) (err error) {
			page, err = c.Runners.ListRunners(ctx, asked)
			return err
		})
		if err != nil {
			return nil, err
		}
		found = append(found, page.Runners...)
		if asked.PageToken = page.NextPageToken; asked.PageToken == "" {
			return found, nil
		}
	}
}

func (c *Client) retry() *retry {
	if atomic.LoadInt32(&c.reached) == 1 {
		return &retry{patience: c.Patience}
	}
	return &retry{patience: c.ConnectPatience}
}

func (c *Client) unary(ctx context.Context, limit time.Duration, call func(context.Context) error) error {
	retry := c.retry()
	for {
		limited, cancel := context.WithTimeout(ctx, limit)
		err := call(limited)
		cancel()
		if err == nil {
			atomic.StoreInt32(&c.reached, 1)
			return nil
		}
		if err := retry.pause(ctx, c.met(ctx, err)); err != nil {
			return err
		}
	}
}

// stream opens a stream until it is done. open reads it, says progress with each message, and answers whether it is done;
// an error without that is a cut.
func (c *Client) stream(ctx context.Context, open func(context.Context, func()) (bool, error)) error {
	retry := c.retry()
	progress := func() {
		if atomic.SwapInt32(&c.reached, 1) == 0 {
			retry.patience = c.Patience
		}
		retry.progress()
	}
	for {
		opened := time.Now()
		reading, cancel := context.WithCancel(ctx)
		done, err := open(reading, progress)
		cancel()
		if done {
			return err
		}
		if errors.Is(err, io.EOF) {
			err = status.Error(codes.Unavailable, "The stream stopped before its end.")
		}
		if time.Since(opened) > capPause {
			// It was quiet, not away: patience counts from this cut.
			retry.progress()
		}
		if err := retry.pause(ctx, c.met(ctx, err)); err != nil {
			return err
		}
	}
}

func (c *Client) met(ctx context.Context, err error) *Error {
	met := failed(ctx, err)
	if !met.Retryable() {
		// Only a server that is there can send another code.
		atomic.StoreInt32(&c.reached, 1)
	}
	return met
}

// orNew is an id that makes a call safe to make twice.
func orNew(requestID string) string {
	if requestID != "" {
		return requestID
	}
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		panic(err)
	}
	return hex.EncodeToString(random[:])
}
