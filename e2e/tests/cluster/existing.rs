//! A cluster that is there already: reached by a context, fed through a registry, left as it was.

use std::{net::TcpListener, path::Path, time::Duration};

use e2e::{
    cluster::{Choice, Cluster, ControlPlane, choose, kubeconfig, native::program_image, state_directory},
    host::{
        command::run,
        wait::{Look, Wait},
    },
    toolchain::{self, Tool},
};
use tokio::process::{Child, Command};

const NAME: &str = "existing-test";
const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_existing_cluster_is_used_and_left_as_it_was() {
    kubeconfig::install_crypto();
    toolchain::debian_packages(&["docker-registry", "skopeo"]).await.unwrap();
    let control_plane = ControlPlane::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (registry, _server) = start_registry(folder.path()).await;

    e2e(&control_plane, &["up", "--context", "control-plane", "--registry", &registry]).await.unwrap();
    // What was chosen is remembered.
    let cluster = choose(&Choice::named(NAME)).await.unwrap();
    assert_eq!(cluster.status().await.unwrap(), [], "there are no nodes here");
    let image = program_image("resolve", Tool::Resolve).await.unwrap();
    cluster.load_images(std::slice::from_ref(&image)).await.unwrap();
    cluster.load_images(std::slice::from_ref(&image)).await.unwrap();
    let reference = cluster.image_reference(&image);
    assert_eq!(reference, format!("{registry}/resolve@{}", image.digest));
    let mut inspect = Command::new("skopeo");
    inspect.args(["inspect", "--tls-verify=false", "--format={{.Digest}}", &format!("docker://{reference}")]);
    assert_eq!(run(&mut inspect, DEADLINE).await.unwrap().trim(), image.digest);

    e2e(&control_plane, &["down"]).await.unwrap();
    assert!(!state_directory(NAME).unwrap().exists());
    control_plane.client().await.unwrap().apiserver_version().await.expect("the cluster itself goes on");
}

#[tokio::test]
async fn a_context_that_is_not_there_is_not_remembered() {
    let control_plane = ControlPlane::start().await.unwrap();
    let error = e2e(&control_plane, &["up", "--context", "nowhere"]).await.unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
    assert!(!state_directory("existing-test-nowhere").unwrap().exists());
}

/// Runs our program as a user would whose kubeconfig is that of the control plane.
async fn e2e(control_plane: &ControlPlane, words: &[&str]) -> anyhow::Result<String> {
    let name = if words.contains(&"nowhere") { "existing-test-nowhere" } else { NAME };
    let mut command = Command::new(env!("CARGO_BIN_EXE_e2e"));
    command.args(words).args(["--name", name]).env("KUBECONFIG", control_plane.kubeconfig());
    run(&mut command, DEADLINE).await
}

/// Debian's registry on a free port of the loopback interface; gone when dropped.
async fn start_registry(folder: &Path) -> (String, Child) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = folder.join("registry.yml");
    let storage = folder.join("storage");
    let settings = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {address}}}\n",
        storage.display()
    );
    std::fs::write(&config, settings).unwrap();
    let log = std::fs::File::create(folder.join("registry.log")).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&config).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
    let server = command.spawn().unwrap();
    Wait::new("the registry", DEADLINE)
        .explained_by(&folder.join("registry.log"))
        .until(async || Ok(Look::Done(tokio::net::TcpStream::connect(address).await?)))
        .await
        .unwrap();
    (format!("{address}/team"), server)
}
