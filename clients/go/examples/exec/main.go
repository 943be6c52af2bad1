// Exec runs a command and is as it: prints what it prints while it runs, and exits with its code.
//
//	RUNNER_SERVER=127.0.0.1:50051 exec sh -c 'echo hello; exit 7'
package main

import (
	"context"
	"fmt"
	"os"

	"google.golang.org/grpc"
	runner "runner-service/clients/go"
	runnerv1 "runner-service/clients/go/gen/runner/v1"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 125
	}
	os.Exit(code)
}

func run(argv []string) (int, error) {
	server := os.Getenv("RUNNER_SERVER")
	if server == "" {
		server = "127.0.0.1:50051"
	}
	options := []grpc.DialOption{grpc.WithInsecure()}
	if token := os.Getenv("RUNNER_TOKEN"); token != "" {
		options = append(options, grpc.WithPerRPCCredentials(runner.Token(token)))
	}
	conn, err := grpc.Dial(server, options...)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	request := &runnerv1.RunCommandRequest{Argv: argv}
	end, err := runner.New(conn).RunAndStream(context.Background(), request, os.Stdout, os.Stderr)
	switch {
	case err != nil:
		return 0, err
	case end.Outcome != nil && end.Outcome.ExitCode != nil:
		return int(end.Outcome.GetExitCode()), nil
	case end.Outcome != nil && end.Outcome.Signal != nil:
		return 128 + int(end.Outcome.GetSignal()), nil
	}
	return 1, nil
}
