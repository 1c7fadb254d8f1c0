//! The commands that are given to `kubectl` and `skopeo`, and what is said when they fail. Both are stand-ins here;
//! `e2e/tests/cluster/existing.rs` uses the real ones.

use super::*;
use crate::cluster::programs::stand_ins::{StandIns, failure, mode};

fn cluster(stand_ins: &StandIns, registry: Option<&str>) -> Existing {
    Existing {
        context: "prod".to_owned(),
        registry: registry.map(str::to_owned),
        state: stand_ins.path("state"),
        kubeconfig: stand_ins.path("state/kubeconfig"),
        programs: stand_ins.programs(),
    }
}

#[test]
fn images_are_named_below_the_registry() {
    let stand_ins = StandIns::new();
    let cluster = Existing::new("test", "somewhere", Some("registry.example/team/")).unwrap();
    let image = stand_ins.image("crm-app");
    let digest = &image.digest;
    assert_eq!(cluster.image_reference(&image), format!("registry.example/team/crm-app@{digest}"));
}

#[tokio::test]
async fn the_context_is_copied_and_the_cluster_asked_whether_it_is_ready() {
    let stand_ins = StandIns::new();
    stand_ins.program("kubectl", "case \"$1\" in config) echo 'current-context: prod';; esac");
    let cluster = cluster(&stand_ins, None);
    cluster.up().await.unwrap();
    assert_eq!(
        stand_ins.calls(),
        [
            "kubectl config view --raw --minify --flatten --context prod",
            "kubectl --kubeconfig TMP/state/kubeconfig get --raw=/readyz",
        ]
    );
    assert_eq!(fs::read_to_string(cluster.kubeconfig()).unwrap(), "current-context: prod\n");
    assert_eq!(mode(cluster.kubeconfig()), 0o600, "it holds credentials");

    cluster.down().await.unwrap();
    assert_eq!(stand_ins.calls(), [""; 0], "the cluster itself is left alone");
    assert!(!cluster.state.exists());
    assert_eq!(cluster.status().await.unwrap()[0].1, "unused; `up` connects");
}

#[tokio::test]
async fn a_context_or_a_cluster_that_is_not_there_is_named() {
    let stand_ins = StandIns::new();
    stand_ins.program("kubectl", "echo 'error: cannot locate context prod' >&2; exit 1");
    let said = failure(cluster(&stand_ins, None).up()).await;
    assert!(said.contains("cannot locate context prod"), "{said}");
    assert_eq!(stand_ins.calls().len(), 1);

    stand_ins.program(
        "kubectl",
        "case \"$1\" in config) exit 0;; esac; echo 'Unable to connect to the server: i/o timeout' >&2; exit 1",
    );
    let said = failure(cluster(&stand_ins, None).up()).await;
    assert!(said.contains("the cluster of context prod is not ready"), "{said}");
    assert!(said.contains("Unable to connect to the server: i/o timeout"), "{said}");
}

#[tokio::test]
async fn images_are_pushed_bit_by_bit() {
    let stand_ins = StandIns::new();
    stand_ins.program("skopeo", "");
    let images = [stand_ins.image("operator"), stand_ins.image("crm-app")];
    cluster(&stand_ins, Some("registry.example/team")).load_images(&images).await.unwrap();
    assert_eq!(
        stand_ins.calls(),
        [
            "skopeo copy --quiet --preserve-digests oci-archive:TMP/operator docker://registry.example/team/operator:0123456789ab",
            "skopeo copy --quiet --preserve-digests oci-archive:TMP/crm-app docker://registry.example/team/crm-app:0123456789ab",
        ]
    );
    // A registry on this machine seldom has a certificate.
    cluster(&stand_ins, Some("127.0.0.1:5000/team")).load_images(&images[..1]).await.unwrap();
    assert_eq!(
        stand_ins.calls(),
        [
            "skopeo copy --quiet --preserve-digests --dest-tls-verify=false oci-archive:TMP/operator docker://127.0.0.1:5000/team/operator:0123456789ab"
        ]
    );
}

#[tokio::test]
async fn a_push_that_cannot_be_is_explained() {
    let stand_ins = StandIns::new();
    stand_ins.program("skopeo", "echo 'unauthorized: authentication required' >&2; exit 1");
    let image = stand_ins.image("operator");
    let said = failure(cluster(&stand_ins, None).load_images(std::slice::from_ref(&image))).await;
    assert!(said.contains("say where with --registry"), "{said}");
    assert_eq!(stand_ins.calls(), [""; 0]);

    let pushing = cluster(&stand_ins, Some("registry.example"));
    let said = failure(pushing.load_images(std::slice::from_ref(&image))).await;
    assert!(
        said.contains("`skopeo copy") && said.contains("unauthorized: authentication required"),
        "{said}"
    );

    let without = ImageArchive { digest: "latest".to_owned(), ..image };
    let said = failure(pushing.load_images(&[without])).await;
    assert!(said.contains("latest is no digest"), "{said}");
}
