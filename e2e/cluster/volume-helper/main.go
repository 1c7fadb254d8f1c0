// Command volume-helper makes and removes the directory of a volume; local-path-provisioner runs it in a pod on the node.
//
// A program in an image of its own needs no shell and no ConfigMap with scripts, so the pod starts faster.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	path := flag.String("p", "", "directory of the volume")
	action := flag.String("a", "", "create or delete")
	flag.String("s", "", "size in bytes, not enforced")
	flag.String("m", "", "volume mode, always Filesystem")
	flag.Parse()
	if err := run(*action, *path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(action, path string) error {
	switch {
	case path == "":
		return fmt.Errorf("-p is missing")
	case action == "create":
		if err := os.MkdirAll(path, 0o777); err != nil {
			return err
		}
		// The kubelet applies no fsGroup here: any user of a pod must be able to write. MkdirAll obeys the umask, Chmod does not.
		return os.Chmod(path, 0o777)
	case action == "delete":
		return os.RemoveAll(path)
	default:
		return fmt.Errorf("unknown action %q", action)
	}
}
