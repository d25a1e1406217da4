//! Manifests as bytes: npm hypercore 11.37.1 `lib/messages.js`, `manifest` and `manifestv0`.

use super::{Manifest, Prologue, Signer};
use crate::codec::{CodecError, Reader, Write};

const PATCH: u64 = 1;
const PROLOGUE: u64 = 2;
const LINKED: u64 = 4;
const USER_DATA: u64 = 8;

impl Manifest {
    /// The bytes that are hashed and sent.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(16 + 65 * self.signers.len());
        self.write(&mut to);
        to
    }

    /// Writes those bytes.
    pub fn write(&self, to: &mut impl Write) {
        to.uint(u64::from(self.version));
        if self.version == 0 {
            return self.write_v0(to);
        }
        let flag = |there: bool, flag: u64| if there { flag } else { 0 };
        to.uint(
            flag(self.allow_patch, PATCH)
                | flag(self.prologue.is_some(), PROLOGUE)
                | flag(self.linked.is_some(), LINKED)
                | flag(self.user_data.is_some(), USER_DATA),
        );
        to.uint(0); // BLAKE2b
        to.uint(self.quorum);
        write_signers(&self.signers, to);
        if let Some(prologue) = &self.prologue {
            to.raw(&prologue.hash);
            to.uint(prologue.length);
        }
        if let Some(linked) = &self.linked {
            to.uint(linked.len() as u64);
            for key in linked {
                to.raw(key);
            }
        }
        if let Some(user_data) = &self.user_data {
            to.buffer(user_data);
        }
    }

    fn write_v0(&self, to: &mut impl Write) {
        to.uint(0); // BLAKE2b
        match (&self.prologue, self.signers.as_slice()) {
            (Some(prologue), []) => {
                to.uint(0);
                to.raw(&prologue.hash);
            }
            (_, [only]) if self.quorum == 1 && !self.allow_patch => {
                to.uint(1);
                write_signer(only, to);
            }
            (_, signers) => {
                to.uint(2);
                to.uint(u64::from(self.allow_patch));
                to.uint(self.quorum);
                write_signers(signers, to);
            }
        }
    }

    /// Reads one off the front; says nothing of whether a log can have it ([`Manifest::check`]).
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let version = match reader.uint()? {
            0 => return Self::read_v0(reader),
            version @ 1..=3 => version as u8,
            _ => return Err(CodecError::Value("the version of a manifest")),
        };
        let flags = reader.uint()?;
        read_hash_id(reader)?;
        let quorum = reader.uint()?;
        let signers = read_signers(reader)?;
        let prologue = (flags & PROLOGUE != 0)
            .then(|| Ok(Prologue { hash: reader.fixed("a prologue")?, length: reader.uint()? }))
            .transpose()?;
        let linked = (flags & LINKED != 0)
            .then(|| reader.array(32, "linked keys", |reader| reader.fixed("a linked key")))
            .transpose()?;
        let user_data =
            (flags & USER_DATA != 0).then(|| reader.buffer("user data").map(<[u8]>::to_vec)).transpose()?;
        Ok(Manifest {
            version,
            allow_patch: flags & PATCH != 0,
            quorum,
            signers,
            prologue,
            linked,
            user_data,
        })
    }

    fn read_v0(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        read_hash_id(reader)?;
        let mut manifest = Manifest { version: 0, ..Manifest::quorum(0, Vec::new()) };
        match reader.uint()? {
            0 => manifest.prologue = Some(Prologue { hash: reader.fixed("a prologue")?, length: 0 }),
            1 => {
                manifest.quorum = 1;
                manifest.signers = vec![read_signer(reader)?];
            }
            2 => {
                manifest.allow_patch = reader.uint()? & PATCH != 0;
                manifest.quorum = reader.uint()?;
                manifest.signers = read_signers(reader)?;
            }
            _ => return Err(CodecError::Value("the kind of a manifest")),
        }
        Ok(manifest)
    }
}

fn read_hash_id(reader: &mut Reader<'_>) -> Result<(), CodecError> {
    if reader.uint()? == 0 { Ok(()) } else { Err(CodecError::Value("a manifest's hash")) }
}

fn read_signers(reader: &mut Reader<'_>) -> Result<Vec<Signer>, CodecError> {
    reader.array(65, "signers", read_signer)
}

fn read_signer(reader: &mut Reader<'_>) -> Result<Signer, CodecError> {
    if reader.uint()? != 0 {
        return Err(CodecError::Value("a signer's kind of signature"));
    }
    Ok(Signer { namespace: reader.fixed("a signer")?, public_key: reader.fixed("a signer")? })
}

fn write_signers(signers: &[Signer], to: &mut impl Write) {
    to.uint(signers.len() as u64);
    for signer in signers {
        write_signer(signer, to);
    }
}

fn write_signer(signer: &Signer, to: &mut impl Write) {
    to.uint(0); // Ed25519
    to.raw(&signer.namespace);
    to.raw(&signer.public_key);
}
