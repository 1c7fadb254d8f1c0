//! Processes found by what they are (program and network namespace), never by a pid that somebody wrote down.

use std::{
    collections::BTreeMap,
    fs,
    os::{fd::OwnedFd, linux::fs::MetadataExt, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::wait::{Look, Wait};

/// A running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// The program it runs, also when the file has been replaced since.
    pub program: PathBuf,
    /// Its arguments, the program's name included.
    pub arguments: Vec<String>,
    /// Inode of its network namespace.
    pub network: u64,
}

impl Process {
    /// The second word of its command line.
    pub fn subcommand(&self) -> Option<&str> {
        self.arguments.get(1).map(String::as_str)
    }
}

/// Every process that we may look into.
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// One process, unless it is gone, a kernel thread or somebody else's.
pub fn read(pid: i32) -> Option<Process> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let program = fs::read_link(folder.join("exe")).ok()?;
    let program = match program.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(kept) => PathBuf::from(std::ffi::OsStr::from_bytes(kept)),
        None => program,
    };
    let arguments = fs::read(folder.join("cmdline")).ok()?;
    let arguments = String::from_utf8_lossy(&arguments).split_terminator('\0').map(str::to_owned).collect();
    let network = inode(&folder.join("ns/net"))?;
    Some(Process { pid, program, arguments, network })
}

/// Inode of a namespace file, which is the namespace's identity.
pub fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.st_ino())
}

/// Sends a signal to a process if it still is the one that was looked at.
pub fn signal(process: &Process, signal: Signal) -> Result<()> {
    send(process, signal).map(|_| ())
}

/// Sends a signal and returns a handle that tells when the process has ended; none when it had ended before.
fn send(process: &Process, signal: Signal) -> Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(None) };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(None) };
    // The handle is bound to one process; only now is it certain whose number this is.
    if read(process.pid).is_none_or(|now| now != *process) {
        return Ok(None);
    }
    match pidfd_send_signal(&handle, signal) {
        Ok(()) => Ok(Some(handle)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot signal process {}", process.pid)),
    }
}

/// Kills all processes that `select` picks, also those that appear meanwhile, and waits until all have ended.
///
/// A dying process loses its program before its files: one that cannot be seen any more may still hold its sockets, so its
/// end is what its handle tells.
pub async fn kill_all(what: &str, select: impl Fn(&Process) -> bool) -> Result<()> {
    let mut dying: BTreeMap<i32, OwnedFd> = BTreeMap::new();
    Wait::new(format!("the end of {what}"), Duration::from_secs(10))
        .until(async || {
            dying.retain(|_, handle| !has_ended(handle));
            let alive: Vec<Process> = all().into_iter().filter(|process| select(process)).collect();
            for process in &alive {
                if let Some(handle) = send(process, Signal::KILL)? {
                    dying.insert(process.pid, handle);
                }
            }
            if alive.is_empty() && dying.is_empty() {
                return Ok(Look::Done(()));
            }
            let first = alive.first().map(|process| &process.program);
            Ok(Look::NotYet(format!("{} alive, first {first:?}, {} dying", alive.len(), dying.len())))
        })
        .await
}

fn has_ended(handle: &OwnedFd) -> bool {
    let mut handles = [PollFd::new(handle, PollFlags::IN)];
    // An error would say that the handle is of no use: nothing to wait for.
    poll(&mut handles, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).map_or(true, |ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_with_its_program() {
        let me = read(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert_eq!(me.program, std::env::current_exe().unwrap());
        assert_eq!(Some(me.network), inode(Path::new("/proc/self/ns/net")));
        assert!(all().contains(&me));
    }

    #[tokio::test]
    async fn kill_all_ends_what_is_picked_and_nothing_else() {
        let mut picked = tokio::process::Command::new("sleep").arg("61.5").spawn().unwrap();
        let mut other = tokio::process::Command::new("sleep").arg("61.6").kill_on_drop(true).spawn().unwrap();
        let pid = i32::try_from(picked.id().unwrap()).unwrap();
        // A child stays in the table until it is waited for.
        let (killed, _) = tokio::join!(kill_all("a sleeper", |process| process.pid == pid), picked.wait());
        killed.unwrap();
        assert!(other.try_wait().unwrap().is_none());
    }
}
