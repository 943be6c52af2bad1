package runner

import (
	"context"
	"math/rand"
	"time"
)

const (
	basePause = 100 * time.Millisecond
	// capPause is what pauses grow to: a server that restarts is found again within it.
	capPause = 2 * time.Second
)

// retry is the retries of one call or one stream, with jitter. Patience is counted from the first failure since there was
// progress.
type retry struct {
	patience time.Duration
	failures int
	since    time.Time
}

// progress says that something arrived: patience begins anew.
func (r *retry) progress() { r.failures = 0 }

// pause sleeps before the next try; it returns failure where another try is of no use, or patience is over.
func (r *retry) pause(ctx context.Context, failure *Error) error {
	now := time.Now()
	if r.failures == 0 {
		r.since = now
	}
	ceiling := basePause << r.failures
	if ceiling > capPause {
		ceiling = capPause
	} else {
		r.failures++
	}
	delay := ceiling/2 + time.Duration(rand.Int63n(int64(ceiling/2)))
	if failure.RetryAfter > delay {
		delay = failure.RetryAfter
	}
	if !failure.Retryable() || now.Add(delay).After(r.since.Add(r.patience)) {
		return failure
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
