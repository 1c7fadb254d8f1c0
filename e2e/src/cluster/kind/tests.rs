//! The commands that are given to `kind` and `docker`, and what is said when they fail. Both are stand-ins.

use super::*;
use crate::cluster::programs::stand_ins::{StandIns, failure};

fn cluster(stand_ins: &StandIns) -> Kind {
    Kind {
        name: "tenantry-demo".to_owned(),
        state: stand_ins.path("state"),
        kubeconfig: stand_ins.path("state/kubeconfig"),
        programs: stand_ins.programs(),
    }
}

/// `kind` and `docker` that succeed; `clusters` is what there is already.
fn both(clusters: &str) -> StandIns {
    let stand_ins = StandIns::new();
    stand_ins.program("kind", &format!("case \"$*\" in 'get clusters') printf '{clusters}';; esac"));
    stand_ins.program("docker", "");
    stand_ins
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_made() {
    // One whose name only begins alike is another.
    let stand_ins = both("other\\ntenantry-demo-2\\n");
    cluster(&stand_ins).up().await.unwrap();
    assert_eq!(
        stand_ins.calls(),
        [
            "kind version",
            "docker info",
            "kind get clusters",
            "kind create cluster --wait 5m --kubeconfig TMP/state/kubeconfig --name tenantry-demo",
        ]
    );
}

#[tokio::test]
async fn a_cluster_that_is_there_is_used() {
    let stand_ins = both("other\\ntenantry-demo\\n");
    cluster(&stand_ins).up().await.unwrap();
    assert_eq!(
        stand_ins.calls()[2..],
        [
            "kind get clusters",
            "kind export kubeconfig --kubeconfig TMP/state/kubeconfig --name tenantry-demo"
        ]
    );
}

#[tokio::test]
async fn without_kind_or_docker_it_is_said_what_to_do() {
    let stand_ins = StandIns::new();
    stand_ins.program("docker", "");
    let said = failure(cluster(&stand_ins).up()).await;
    assert!(said.contains("kind does not work here: install it (https://kind.sigs.k8s.io)"), "{said}");
    assert!(said.contains("cannot start `kind version`"), "{said}");
    assert!(!is_available(&stand_ins.programs()).await);
    assert_eq!(stand_ins.calls(), [""; 0]);

    let stand_ins = StandIns::new();
    stand_ins.program("kind", "");
    let said = failure(cluster(&stand_ins).up()).await;
    assert!(said.contains("cannot start `docker info`"), "{said}");

    stand_ins.program("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1");
    let said = failure(cluster(&stand_ins).up()).await;
    assert!(said.contains("Docker does not answer: start it, or choose another --provider"), "{said}");
    assert!(said.contains("Cannot connect to the Docker daemon"), "{said}");
    assert!(!is_available(&stand_ins.programs()).await);
    assert!(!stand_ins.calls().iter().any(|call| call.contains("cluster")), "nothing is begun");
}

#[tokio::test]
async fn a_docker_that_hangs_is_not_waited_for() {
    let stand_ins = StandIns::new();
    stand_ins.program("kind", "");
    stand_ins.program("docker", "exec /bin/sleep 60");
    let said = failure(cluster(&stand_ins).up()).await;
    assert!(said.contains("`docker info` did not finish within 5 s"), "{said}");
}

#[tokio::test]
async fn what_kind_says_when_it_fails_is_quoted() {
    let stand_ins = both("");
    stand_ins.program(
        "kind",
        "case \"$1\" in create) echo 'ERROR: failed to create cluster: port is already allocated' >&2; exit 1;; esac",
    );
    let said = failure(cluster(&stand_ins).up()).await;
    assert!(said.contains("`kind create cluster --wait 5m --kubeconfig"), "{said}");
    assert!(said.contains("exit status: 1") && said.contains("port is already allocated"), "{said}");
}

#[tokio::test]
async fn down_removes_the_cluster_and_then_what_is_remembered_of_it() {
    let stand_ins = both("tenantry-demo\\n");
    let cluster = cluster(&stand_ins);
    fs::create_dir_all(&cluster.state).unwrap();
    stand_ins.program("kind", "echo 'ERROR: failed to delete cluster' >&2; exit 1");
    let said = failure(cluster.down()).await;
    assert!(said.contains("failed to delete cluster"), "{said}");
    assert!(cluster.state.exists(), "it can be tried again");

    stand_ins.program("kind", "");
    stand_ins.calls();
    cluster.down().await.unwrap();
    assert_eq!(stand_ins.calls(), ["kind delete cluster --name tenantry-demo"]);
    assert!(!cluster.state.exists());
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_down() {
    let stand_ins = both("");
    let status = cluster(&stand_ins).status().await.unwrap();
    assert_eq!(status, [("tenantry-demo".to_owned(), "down".to_owned())]);
    assert_eq!(stand_ins.calls(), ["kind get clusters"]);
}

#[tokio::test]
async fn images_go_to_every_node_under_their_digest() {
    let stand_ins = both("tenantry-demo\\n");
    stand_ins.program("kind", "printf 'tenantry-demo-control-plane\\ntenantry-demo-worker\\n'");
    let received = stand_ins.path("received");
    stand_ins.program("docker", &format!("/bin/cat >> '{}'", received.display()));
    let images = [stand_ins.image("operator"), stand_ins.image("crm-app")];
    cluster(&stand_ins).load_images(&images).await.unwrap();
    let import = |node: &str, name: &str| {
        format!(
            "docker exec --interactive {node} ctr --namespace=k8s.io images import --digests --base-name docker.io/tenantry/{name} -"
        )
    };
    assert_eq!(
        stand_ins.calls(),
        [
            "kind get nodes --name tenantry-demo".to_owned(),
            import("tenantry-demo-control-plane", "operator"),
            import("tenantry-demo-worker", "operator"),
            import("tenantry-demo-control-plane", "crm-app"),
            import("tenantry-demo-worker", "crm-app"),
        ]
    );
    let received = fs::read_to_string(received).unwrap();
    let (operator, crm_app) = ("archive of operator", "archive of crm-app");
    assert_eq!(received, [operator, operator, crm_app, crm_app].concat());
}

#[tokio::test]
async fn an_image_that_a_node_does_not_take_is_named() {
    let stand_ins = both("tenantry-demo\\n");
    stand_ins.program("kind", "printf 'tenantry-demo-control-plane\\n'");
    stand_ins.program("docker", "/bin/cat > /dev/null; echo 'ctr: no space left on device' >&2; exit 1");
    let image = stand_ins.image("operator");
    let said = failure(cluster(&stand_ins).load_images(std::slice::from_ref(&image))).await;
    for words in
        ["docker.io/tenantry/operator", "tenantry-demo-control-plane", "ctr: no space left on device"]
    {
        assert!(said.contains(words), "{said}");
    }

    fs::remove_file(&image.path).unwrap();
    let said = failure(cluster(&stand_ins).load_images(&[image])).await;
    assert!(said.contains("cannot read ") && said.contains("operator"), "{said}");
}
