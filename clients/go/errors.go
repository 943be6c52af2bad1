package runner

import (
	"context"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// FieldViolation is one field that the server refused.
type FieldViolation struct {
	Field, Description string
}

// Error is how a call failed. Message is a sentence that says what to do, Reason a stable word for programs
// (docs/reference/errors.md) and Metadata its particulars, all from the server where it said something.
type Error struct {
	Code       codes.Code
	Reason     string
	Message    string
	Metadata   map[string]string
	Violations []FieldViolation
	// RetryAfter is when the server wants to be asked again; 0 when it said nothing.
	RetryAfter time.Duration
	cause      error
}

func (e *Error) Error() string { return e.Reason + ": " + e.Message }

// Unwrap returns what gRPC said.
func (e *Error) Unwrap() error { return e.cause }

// Retryable tells whether the server is away, so that the same call made again can succeed without anybody doing anything.
func (e *Error) Retryable() bool { return e.Code == codes.Unavailable }

// failed makes an Error of what a call returned. What the caller's own context ended stays an error of the context.
func failed(ctx context.Context, err error) *Error {
	said, _ := status.FromError(err)
	made := &Error{Code: said.Code(), Message: said.Message(), cause: err}
	for _, detail := range said.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			made.Reason, made.Metadata = detail.Reason, detail.Metadata
		case *errdetails.RetryInfo:
			made.RetryAfter = detail.RetryDelay.AsDuration()
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				made.Violations = append(made.Violations, FieldViolation{violation.Field, violation.Description})
			}
		}
	}
	// Calls in flight when a connection breaks or a server stops end so; a server that means INTERNAL attaches details.
	broke := made.Code == codes.Canceled || (made.Code == codes.Internal && len(said.Details()) == 0)
	if broke && ctx.Err() == nil {
		made.Code = codes.Unavailable
	}
	if made.Reason == "" {
		made.Reason = words[made.Code]
	}
	return made
}

var words = map[codes.Code]string{
	codes.Canceled: "CANCELED", codes.Unknown: "UNKNOWN", codes.InvalidArgument: "INVALID_ARGUMENT",
	codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.NotFound: "NOT_FOUND", codes.AlreadyExists: "ALREADY_EXISTS",
	codes.PermissionDenied: "PERMISSION_DENIED", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
	codes.FailedPrecondition: "FAILED_PRECONDITION", codes.Aborted: "ABORTED", codes.OutOfRange: "OUT_OF_RANGE",
	codes.Unimplemented: "UNIMPLEMENTED", codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE",
	codes.DataLoss: "DATA_LOSS", codes.Unauthenticated: "UNAUTHENTICATED",
}
