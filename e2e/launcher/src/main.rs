//! `cargo demo`, `cargo verify` and `cargo e2e` start here.
//!
//! A fresh clone has an empty `target/`, and compiling the `e2e` crate takes minutes. This program has no dependencies,
//! so cargo compiles it in a second; it then builds `e2e` in a target directory that all checkouts of this user share
//! (`$CARGO_TARGET_DIR`, or `~/.cache/tenantry/target`) and becomes it.

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// The workspace's own crates. This one too: the program is compiled elsewhere, but its tests are not.
const PACKAGES: [&str; 5] = ["crm-app", "e2e", "gateway-bench", "launcher", "operator"];

fn main() -> ExitCode {
    match run() {
        Ok(never) => match never {},
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Builds `e2e` and replaces this process by it: signals and the exit code then need no passing on.
fn run() -> Result<std::convert::Infallible, String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .ok_or("the launcher does not stand in e2e/launcher of a checkout")?;
    let target = target_directory()?;
    take_over(workspace, &target)?;
    build(workspace, &target)?;
    let mut command = Command::new(target.join("debug/e2e"));
    forget_this_package(&mut command);
    let error = command.args(env::args_os().skip(1)).env("CARGO_TARGET_DIR", &target).exec();
    Err(format!("cannot start {}: {error}", target.join("debug/e2e").display()))
}

/// Removes what another checkout has compiled of the workspace's own crates; dependencies stay.
///
/// Cargo names artifacts by the place of a crate in its workspace and compares times of files, so that it takes those of another
/// checkout with newer files for this one's.
fn take_over(workspace: &Path, target: &Path) -> Result<(), String> {
    let marker = target.join("checkout");
    let owner = workspace.display().to_string();
    let is_ours = fs::read_to_string(&marker).is_ok_and(|last| last == owner);
    if is_ours {
        return Ok(());
    }
    if target.join("debug").exists() {
        for profile in ["dev", "release"] {
            let mut clean = Command::new(cargo());
            clean.current_dir(workspace).args(["clean", "--quiet", "--locked", "--profile", profile]);
            clean.args(PACKAGES.into_iter().flat_map(|name| ["--package", name]));
            let status = clean.env("CARGO_TARGET_DIR", target).status().map_err(not_started)?;
            if !status.success() {
                return Err(format!(
                    "what another checkout compiled in {} cannot be removed",
                    target.display()
                ));
            }
        }
    }
    fs::create_dir_all(target)
        .and_then(|()| fs::write(&marker, owner))
        .map_err(|error| format!("cannot write {}: {error}", marker.display()))
}

/// Compiles `e2e` with cargo's own progress on standard error.
///
/// Without `--package`: cargo then unifies features over the whole workspace, as it does for clippy and the tests, and
/// the dependencies are compiled once instead of twice.
fn build(workspace: &Path, target: &Path) -> Result<(), String> {
    let first_time = !target.join("debug/e2e").exists();
    if first_time {
        eprintln!("building the e2e tool in {} (the first time takes some minutes)", target.display());
    }
    let mut command = Command::new(cargo());
    command.current_dir(workspace).args(["build", "--locked", "--bin", "e2e"]);
    if !first_time {
        command.arg("--quiet");
    }
    forget_this_package(&mut command);
    let status = command.env("CARGO_TARGET_DIR", target).status().map_err(not_started)?;
    if status.success() { Ok(()) } else { Err("the e2e tool does not compile; see above".into()) }
}

/// Takes out what `cargo run` says about the launcher: build scripts (ring's, for one) look at these variables and
/// would compile again whenever cargo is called from here and by hand in turn.
fn forget_this_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let is_ours = name.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix))
        });
        if is_ours {
            command.env_remove(name);
        }
    }
}

fn cargo() -> OsString {
    variable("CARGO").unwrap_or_else(|| "cargo".into())
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn not_started(error: io::Error) -> String {
    format!("cannot run cargo: {error}")
}

/// The shared target directory, unless the user chose one.
fn target_directory() -> Result<PathBuf, String> {
    if let Some(chosen) = variable("CARGO_TARGET_DIR") {
        return Ok(chosen.into());
    }
    let cache = match (variable("XDG_CACHE_HOME"), variable("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => Path::new(&home).join(".cache"),
        (None, None) => return Err("neither XDG_CACHE_HOME nor HOME is set: set CARGO_TARGET_DIR".into()),
    };
    Ok(cache.join("tenantry/target"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the launcher has no args.rs: this is where its environment is read"
)]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An artifact of a crate, named as cargo names them.
    fn compiled(target: &Path, crate_name: &str) -> PathBuf {
        let fingerprint = target.join(format!("debug/.fingerprint/{crate_name}-0123456789abcdef"));
        fs::create_dir_all(&fingerprint).unwrap();
        fs::write(target.join(format!("debug/deps/{crate_name}-0123456789abcdef")), "compiled elsewhere")
            .unwrap();
        fingerprint
    }

    #[test]
    fn what_another_checkout_compiled_is_removed_once() {
        let target = tempfile::tempdir().unwrap();
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        fs::create_dir_all(target.path().join("debug/deps")).unwrap();
        fs::write(target.path().join("checkout"), "/another/checkout").unwrap();
        let (ours, dependency) = (compiled(target.path(), "e2e"), compiled(target.path(), "serde"));

        take_over(workspace, target.path()).unwrap();
        assert!(!ours.exists() && dependency.exists());
        assert_eq!(
            fs::read_to_string(target.path().join("checkout")).unwrap(),
            workspace.display().to_string()
        );

        let ours = compiled(target.path(), "e2e");
        take_over(workspace, target.path()).unwrap();
        assert!(ours.exists(), "this checkout has compiled it");
    }

    #[test]
    fn a_fresh_machine_has_nothing_to_remove() {
        let target = tempfile::tempdir().unwrap();
        let target = target.path().join("new");
        take_over(Path::new("/a/checkout"), &target).unwrap();
        assert_eq!(fs::read_to_string(target.join("checkout")).unwrap(), "/a/checkout");
    }
}
