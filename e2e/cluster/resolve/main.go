// Command resolve looks a name up until it is found, at most 30 seconds: a pod that runs it proves that DNS works.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	deadline, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		attempt, cancel := context.WithTimeout(deadline, time.Second)
		addresses, err := net.DefaultResolver.LookupHost(attempt, os.Args[1])
		cancel()
		if err == nil {
			fmt.Println(addresses)
			return
		}
		select {
		case <-deadline.Done():
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
