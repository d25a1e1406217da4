//! QEMU's machine protocol: one JSON object a line over a Unix socket.

use serde_json::{Value, json};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// No line of QEMU's is longer, in bytes.
const MAX_LINE: usize = 1 << 20;
/// QEMU answers in milliseconds; after this long it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// QEMU could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The socket.
    #[error("lost the connection to the hypervisor at {path}")]
    Io {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something that is not the protocol.
    #[error("the hypervisor said something that is not its protocol")]
    Protocol,
    /// An error answer.
    #[error("the hypervisor refused {command}: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// What it said.
        reason: String,
    },
    /// A save or load that failed.
    #[error("the hypervisor could not move the machine's state: {0}")]
    Migration(String),
}

/// A connection past its greeting.
pub struct Qmp {
    socket: UnixStream,
    path: PathBuf,
    buffer: Vec<u8>,
}

impl Qmp {
    /// Connects and waits for the greeting. The socket listens before QEMU starts, so this also waits
    /// for QEMU to be ready.
    pub fn connect(path: &Path) -> Result<Self, QmpError> {
        let open = || {
            let socket = UnixStream::connect(path)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket = open().map_err(|source| QmpError::Io { path: path.to_owned(), source })?;
        let mut qmp = Qmp { socket, path: path.to_owned(), buffer: Vec::new() };
        let greeting = qmp.read_object()?;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Protocol);
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Sends a command and gives its answer. Events in between are skipped: states are asked for.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let line = request(command, arguments);
        self.socket.write_all(&line).map_err(|source| self.io(source))?;
        self.answer(command)
    }

    /// Gives QEMU a descriptor under a name.
    pub fn pass_descriptor(&mut self, name: &str, descriptor: BorrowedFd<'_>) -> Result<(), QmpError> {
        use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
        let line = request("getfd", json!({ "fdname": name }));
        let descriptors = [descriptor.as_raw_fd()];
        let message = [ControlMessage::ScmRights(&descriptors)];
        let sent =
            sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(&line)], &message, MsgFlags::empty(), None);
        match sent {
            Ok(size) if size == line.len() => self.answer("getfd").map(drop),
            Ok(_) => Err(QmpError::Protocol),
            Err(error) => Err(self.io(error.into())),
        }
    }

    /// Keeps shared guest memory out of what `migrate` moves.
    pub fn leave_memory_out(&mut self) -> Result<(), QmpError> {
        let capabilities = json!({ "capabilities": [{ "capability": "x-ignore-shared", "state": true }] });
        self.execute("migrate-set-capabilities", capabilities).map(drop)
    }

    /// Waits until the running save or load is done.
    pub fn wait_for_migration(&mut self) -> Result<(), QmpError> {
        let start = Instant::now();
        loop {
            let answer = self.execute("query-migrate", json!({}))?;
            match answer.get("status").and_then(Value::as_str) {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => {
                    let reason =
                        answer.get("error-desc").and_then(Value::as_str).unwrap_or("no reason given");
                    return Err(QmpError::Migration(reason.to_owned()));
                }
                _ if start.elapsed() > PATIENCE => {
                    return Err(QmpError::Migration("it does not end".to_owned()));
                }
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// QEMU's run state, such as `running` or `paused`.
    pub fn status(&mut self) -> Result<String, QmpError> {
        let answer = self.execute("query-status", json!({}))?;
        answer.get("status").and_then(Value::as_str).map(str::to_owned).ok_or(QmpError::Protocol)
    }

    fn answer(&mut self, command: &str) -> Result<Value, QmpError> {
        loop {
            let mut object = self.read_object()?;
            if let Some(value) = object.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = object.get("error") {
                let reason =
                    error.get("desc").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
                return Err(QmpError::Refused { command: command.to_owned(), reason });
            }
        }
    }

    fn read_object(&mut self) -> Result<Value, QmpError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(|_| QmpError::Protocol);
            }
            if self.buffer.len() > MAX_LINE {
                return Err(QmpError::Protocol);
            }
            let mut part = [0; 4096];
            let size = self.socket.read(&mut part).map_err(|source| self.io(source))?;
            if size == 0 {
                return Err(self.io(io::ErrorKind::UnexpectedEof.into()));
            }
            self.buffer.extend_from_slice(&part[..size]);
        }
    }

    fn io(&self, source: io::Error) -> QmpError {
        QmpError::Io { path: self.path.clone(), source }
    }
}

fn request(command: &str, arguments: Value) -> Vec<u8> {
    let mut line = json!({ "execute": command, "arguments": arguments }).to_string().into_bytes();
    line.push(b'\n');
    line
}
