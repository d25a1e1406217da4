//! Work done in a process of its own: sealing and opening snapshots inside the machine's control
//! group, so that the memory it touches is the machine's and not the agent's; and trying KVM, which
//! must be killable. The agent's own program is started again with one hidden argument.
#![allow(unsafe_code)]

use crate::host::confine::{Confinement, confine};
use crate::probe::{self, KvmRun};
use crate::seal::{self, OpenError, Part, PartKey, Salt, Sealed};
use crate::spec::RunAs;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use zeroize::{Zeroize, Zeroizing};

/// No job or answer is longer, in bytes.
const MAX_MESSAGE: u64 = 64 * 1024;

/// How to start the helper process: a program that calls [`helper_main`] when given these arguments.
#[derive(Clone, Debug)]
pub struct Helper {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Helper {
    /// This very program (even if its file was replaced since) with one hidden argument.
    pub fn this_program(argument: &str) -> Self {
        Helper { program: "/proc/self/exe".into(), arguments: vec![argument.into()] }
    }
}

/// One part of a snapshot to seal or open. Numbers are inherited descriptors.
#[derive(Serialize, Deserialize)]
pub(crate) struct PartJob {
    pub part: Part,
    pub key: [u8; 32],
    pub plain: i32,
    pub sealed: i32,
    /// Bytes of plaintext; not used when opening.
    pub length: u64,
}

/// What a helper is asked to do.
#[derive(Serialize, Deserialize)]
pub(crate) enum Job {
    Seal { salt: [u8; 32], binding: [u8; 32], parts: Vec<PartJob> },
    Open { salt: [u8; 32], binding: [u8; 32], parts: Vec<PartJob> },
    RunKvm,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// One report a part.
    Done(Vec<Sealed>),
    /// The disk has no room left.
    DiskFull,
    /// A part was changed, or belongs to something else: what and why.
    Refused(String),
    /// Anything else.
    Failed(String),
    Kvm(KvmRun),
}

/// A helper that could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// It did not start.
    #[error("could not start the helper process {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended without an answer.
    #[error("the helper process ended without an answer")]
    NoAnswer,
}

/// A helper at work.
pub(crate) struct Busy {
    child: Child,
}

/// Starts a helper on `job`. The keys go through its standard input, never through arguments.
pub(crate) fn start(
    helper: &Helper,
    job: &Job,
    confinement: Option<Confinement>,
) -> Result<Busy, HelperError> {
    let failed = |source| HelperError::Start { program: helper.program.clone(), source };
    let mut command = Command::new(&helper.program);
    command.args(&helper.arguments).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(confinement) = confinement {
        confine(&mut command, confinement);
    }
    let message = Zeroizing::new(postcard::to_stdvec(job).map_err(|_| HelperError::NoAnswer)?);
    let mut child = command.spawn().map_err(failed)?;
    let sent = child.stdin.take().map(|mut pipe| pipe.write_all(&message));
    if !matches!(sent, Some(Ok(()))) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(HelperError::NoAnswer);
    }
    Ok(Busy { child })
}

/// Starts a helper on a job with keys as `run_as` in `cgroups`, and wipes the keys. It knows the keys of
/// one snapshot only, and whoever broke out as this user knew that snapshot's content before.
pub(crate) fn start_on(
    helper: &Helper,
    job: &mut Job,
    run_as: RunAs,
    cgroups: Vec<File>,
) -> Result<Busy, HelperError> {
    let parts: &[PartJob] = match job {
        Job::Seal { parts, .. } | Job::Open { parts, .. } => parts,
        Job::RunKvm => &[],
    };
    let keep = parts.iter().flat_map(|part| [part.plain, part.sealed]).collect();
    let confinement =
        Confinement { run_as, groups: Vec::new(), netns: None, tap: None, cgroups, keep, oom_score: 0 };
    let started = start(helper, job, Some(confinement));
    if let Job::Seal { parts, .. } | Job::Open { parts, .. } = job {
        parts.iter_mut().for_each(|part| part.key.zeroize());
    }
    started
}

impl Busy {
    /// Waits for the answer.
    pub fn finish(mut self) -> Result<Answer, HelperError> {
        let mut bytes = Vec::new();
        if let Some(pipe) = self.child.stdout.take() {
            let _ = pipe.take(MAX_MESSAGE).read_to_end(&mut bytes);
        }
        let _ = self.child.wait();
        postcard::from_bytes(&bytes).map_err(|_| HelperError::NoAnswer)
    }

    /// Waits at most this long, then kills it.
    pub fn finish_within(mut self, limit: Duration) -> Result<Answer, HelperError> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return self.finish();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        Err(HelperError::NoAnswer)
    }
}

/// What the program does when started with the hidden argument: reads one job from standard input,
/// does it and writes the answer to standard output.
pub fn helper_main() -> ExitCode {
    // It shares the user with the machine, whose processes must not look into it.
    if nix::sys::prctl::set_dumpable(false).is_err() {
        return ExitCode::FAILURE;
    }
    let mut message = Zeroizing::new(Vec::new());
    if io::stdin().take(MAX_MESSAGE).read_to_end(&mut message).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(job) = postcard::from_bytes::<Job>(&message) else {
        eprintln!(
            "this is a part of cloudpal-host that it starts by itself; there is nothing to do here by hand"
        );
        return ExitCode::from(2);
    };
    let answer = work(job);
    let sent = postcard::to_stdvec(&answer).ok().and_then(|bytes| io::stdout().write_all(&bytes).ok());
    if sent.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(job: Job) -> Answer {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(4));
    match job {
        Job::Seal { salt, binding, parts } => each(parts, salt, binding, |key, plain, sealed, length| {
            seal::seal(key, plain, length, sealed, threads).map_err(OpenError::Io)
        }),
        Job::Open { salt, binding, parts } => {
            each(parts, salt, binding, |key, plain, sealed, _| seal::open(key, sealed, plain, threads))
        }
        Job::RunKvm => Answer::Kvm(probe::run_kvm()),
    }
}

fn each(
    parts: Vec<PartJob>,
    salt: [u8; 32],
    binding: [u8; 32],
    work: impl Fn(&PartKey, &File, &File, u64) -> Result<Sealed, OpenError>,
) -> Answer {
    let mut done = Vec::new();
    for job in parts {
        let bytes = Zeroizing::new(job.key);
        let key = PartKey::from_derived(&bytes, Salt(salt), job.part, binding);
        let (plain, sealed) = (inherited(job.plain), inherited(job.sealed));
        match work(&key, &plain, &sealed, job.length) {
            Ok(report) => done.push(report),
            Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::StorageFull => {
                return Answer::DiskFull;
            }
            Err(OpenError::Io(error)) => return Answer::Failed(format!("{}: {error}", job.part.name())),
            Err(refused) => return Answer::Refused(format!("{}: {refused}", job.part.name())),
        }
    }
    Answer::Done(done)
}

fn inherited(number: i32) -> File {
    // SAFETY: the agent passed this number on to this process, which names it in one job only; the
    // file owns it from here.
    unsafe { File::from_raw_fd(number) }
}
