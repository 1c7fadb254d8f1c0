//! A long-running program of a cluster: how it is started, and what has to be there first.

use std::{
    fmt,
    fs::OpenOptions,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// A long-running program of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Its name in `status` and of its log.
    pub(crate) name: String,
    /// The program, an absolute path.
    pub(crate) program: PathBuf,
    /// The program's arguments.
    pub(crate) arguments: Vec<String>,
    /// What has to be there before it starts: without it the program would exit or wait longer than needed.
    pub(crate) after: Vec<Gate>,
}

/// Something that a part needs before it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Gate {
    /// An address accepts connections.
    Tcp(SocketAddr),
    /// A Unix socket accepts connections.
    Unix(PathBuf),
    /// The API server is ready, its first roles and priority classes included.
    ApiServer,
}

impl fmt::Display for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Unix(path) => write!(formatter, "{}", path.display()),
            Self::ApiServer => formatter.write_str("the API server"),
        }
    }
}

impl Part {
    /// A part that needs nothing.
    pub(crate) fn new(name: &str, program: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_path_buf(),
            arguments: Vec::new(),
            after: Vec::new(),
        }
    }

    /// Adds one argument, `--name=value`.
    #[must_use]
    pub(crate) fn flag(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.arguments.push(format!("--{name}={value}"));
        self
    }

    /// Adds arguments as they are.
    #[must_use]
    pub(crate) fn arguments<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// Starts only when this is there.
    #[must_use]
    pub(crate) fn after(mut self, gate: Gate) -> Self {
        self.after.push(gate);
        self
    }

    /// The command that becomes the program: `wrapper` (for example `nsenter`) replaces itself by it. Output is appended to
    /// `log`.
    pub(crate) fn command(&self, wrapper: &[String], log: &Path) -> Result<Command> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut words =
            wrapper.iter().map(String::as_str).chain([self.program.to_str().context("path is not UTF-8")?]);
        let mut command = Command::new(words.next().context("a part has a program")?);
        command
            .args(words)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C at the terminal is meant for the tool, not for the cluster.
            .process_group(0);
        Ok(command)
    }
}
