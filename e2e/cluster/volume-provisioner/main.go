// Command volume-provisioner makes a directory of the node for each volume claim, on the library of the Kubernetes project
// for provisioners.
//
// local-path-provisioner does the same through a helper pod per volume. The kubelet needs two of its one-second rounds to
// call such a pod done, and the provisioner looks once a second: three of the seven seconds that a tenant took.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const name = "tenantry.dev/node-directory"

func main() {
	root := flag.String("root", "", "directory that holds one directory per volume")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(root string) error {
	if !filepath.IsAbs(root) {
		return fmt.Errorf("--root must be an absolute path, not %q", root)
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	// There is one replica, and it is replaced only when it is gone.
	controller.NewProvisionController(ctx, client, name, provisioner{root}, controller.LeaderElection(false)).Run(ctx)
	return nil
}

type provisioner struct {
	root string
}

// Provision makes the directory and describes it. The size is not enforced: the node's disk is shared.
func (p provisioner) Provision(
	_ context.Context,
	options controller.ProvisionOptions,
) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	path := filepath.Join(p.root, options.PVName)
	if err := makeDirectory(path); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	kind := v1.HostPathDirectory
	volume := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: options.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   options.PVC.Spec.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: options.PVC.Spec.Resources.Requests[v1.ResourceStorage]},
			PersistentVolumeSource:        v1.PersistentVolumeSource{HostPath: &v1.HostPathVolumeSource{Path: path, Type: &kind}},
			NodeAffinity:                  onNode(options.SelectedNodeName),
		},
	}
	return volume, controller.ProvisioningFinished, nil
}

func makeDirectory(path string) error {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	// The kubelet applies no fsGroup here: any user of a pod must be able to write. MkdirAll obeys the umask, Chmod does not.
	return os.Chmod(path, 0o777)
}

func onNode(node string) *v1.VolumeNodeAffinity {
	is := v1.NodeSelectorRequirement{Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{node}}
	term := v1.NodeSelectorTerm{MatchExpressions: []v1.NodeSelectorRequirement{is}}
	return &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{term}}}
}

// Delete removes the directory that Provision made, and no other.
func (p provisioner) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	path := filepath.Join(p.root, volume.Name)
	if volume.Spec.HostPath == nil || volume.Spec.HostPath.Path != path {
		return fmt.Errorf("volume %s is not the directory %s: nothing was removed", volume.Name, path)
	}
	return os.RemoveAll(path)
}
