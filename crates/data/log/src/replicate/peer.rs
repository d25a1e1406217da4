use super::announce::Announcements;
use super::ask::SEGMENT;
use super::asked::Asked;
use super::bits::Bits;
use super::have::Have;
use super::serve::Queue;
use super::window::Window;
use crate::ProofRequest;
use crate::wire::{Message, Span, Sync};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Wants that JS keeps of a peer; more make it tell everything.
const MOST_WANTS: usize = 512;

/// The blocks that a want with this number asks about.
const fn segment(number: u64) -> Span {
    Span { start: number * SEGMENT, length: SEGMENT, any: false }
}

/// One peer of one log: the other end of one `hypercore/alpha` channel.
///
/// ```text
/// joined ──its sync──> talking ──bad proof──> suspect ──after a while, longer each time──> talking
///                         │  ├──silent too long──> stalled ──any answer──> talking
///                         │  └──breaks the protocol──> outcast until it leaves
///                         └──channel closed──> gone
/// ```
#[derive(Debug)]
pub(crate) struct Peer {
    /// What it last said of itself; none before its first sync.
    pub remote: Option<Sync>,
    /// Which blocks it has.
    pub have: Have,
    /// It answers requests for a byte.
    pub seeks: bool,
    /// What we may ask of it.
    pub standing: Standing,
    /// How often it was suspect.
    pub doubts: u32,

    /// It could not prove the tree that its last sync told of.
    pub no_tree: bool,
    /// It refused a longer tree with a block: it is asked for the tree alone.
    pub tree_alone: bool,

    /// Its sync is due an answer, or something of ours changed.
    pub sync_due: bool,
    /// Whether we can bring it from its length to ours.
    pub can_upgrade: bool,
    /// The fork and length of it up to which our trees are known to be the same: we hold the roots of that length.
    pub agrees: Option<(u64, u64)>,

    pub asked: Asked,
    /// Tree nodes that answers still on their way will bring.
    pub coming: Bits,
    pub window: Window,
    /// Requests are being sent until the window is full.
    pub filling: bool,
    /// When it last answered, or was first asked after it had answered everything.
    pub heard: Duration,
    /// Segments of blocks that we asked it to tell us about.
    pub wanted: BTreeSet<u64>,

    pub queue: Queue,
    pub announcements: Announcements,
    pub outbox: VecDeque<Message>,
    /// How far it has been brought by blocks that it did not ask for.
    pub pushed: u64,
    /// Blocks to send without being asked.
    pub push: VecDeque<u64>,

    pub last_extension: Extensions,
    /// It is in the list of those with something to send.
    pub ready: bool,
    pub traffic: Traffic,
}

/// The names of the last extension messages: a name is sent only when it changes.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    pub sent: String,
    pub received: String,
}

/// What a peer is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// May be asked.
    Good,
    /// Did not answer for long: asked little until it does.
    Stalled,
    /// Sent what cannot be true: not asked until then, still answered.
    Suspect {
        /// On the caller's clock.
        until: Duration,
    },
    /// Does not keep to the protocol: never asked again, still answered.
    Outcast,
}

/// What went to and came from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Blocks that came and were right.
    pub blocks_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Blocks sent.
    pub blocks_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Proofs that were wrong.
    pub bad_proofs: u64,
    /// Requests that nobody could answer.
    pub bad_requests: u64,
    /// Requests it said it cannot serve.
    pub refused: u64,
}

impl Peer {
    pub fn new(seeks: bool, fork: u64, now: Duration) -> Self {
        Peer {
            remote: None,
            have: Have::default(),
            seeks,
            standing: Standing::Good,
            doubts: 0,
            no_tree: false,
            tree_alone: false,
            sync_due: true,
            // A peer begins at fork 0 and length 0, as JS assumes too.
            can_upgrade: fork == 0,
            agrees: None,
            asked: Asked::default(),
            coming: Bits::default(),
            window: Window::default(),
            filling: false,
            heard: now,
            wanted: BTreeSet::new(),
            queue: Queue::default(),
            announcements: Announcements::default(),
            outbox: VecDeque::new(),
            pushed: 0,
            push: VecDeque::new(),
            last_extension: Extensions::default(),
            ready: false,
            traffic: Traffic::default(),
        }
    }

    /// It did not prove what `asked` is about. When that is what it last told of, it is not asked again until it
    /// tells of something else.
    pub fn tree_refused(&mut self, asked: &ProofRequest) {
        let told = self.remote.map(|remote| (remote.fork, remote.length));
        let target = asked.upgrade.map(|upgrade| (asked.fork, upgrade.start.saturating_add(upgrade.length)));
        self.no_tree |= target.is_some() && told == target;
    }

    /// Asks again what it has, where that matters: npm keeps quiet about blocks that it believes us to have, also when
    /// we give them up later.
    pub fn ask_have_anew(&mut self) {
        let segments = std::mem::take(&mut self.wanted);
        self.outbox.extend(segments.into_iter().map(|number| Message::Unwant(segment(number))));
    }

    /// Asks which blocks of a segment it has, now and from then on, unless that was asked.
    pub fn want_segment(&mut self, number: u64) -> Option<Message> {
        let fresh = self.wanted.len() < MOST_WANTS && self.wanted.insert(number);
        fresh.then(|| Message::Want(segment(number)))
    }

    /// Whether it can be asked about its tree.
    pub fn may_prove(&self) -> bool {
        !self.no_tree && self.may_be_asked()
    }

    /// Whether it can be asked anything.
    pub const fn may_be_asked(&self) -> bool {
        matches!(self.standing, Standing::Good | Standing::Stalled)
    }

    /// Its fork, 0 before it said.
    pub fn fork(&self) -> u64 {
        self.remote.map_or(0, |remote| remote.fork)
    }

    /// Its length, 0 before it said.
    pub fn length(&self) -> u64 {
        self.remote.map_or(0, |remote| remote.length)
    }

    /// How far its blocks can be verified by a log of `length` and `fork`: all of its own when it is as long,
    /// else as far as the trees are known to agree.
    pub fn valid_end(&self, fork: u64, length: u64) -> u64 {
        let Some(remote) = self.remote.filter(|remote| remote.fork == fork) else { return 0 };
        if remote.length >= length {
            return length;
        }
        match self.agrees {
            Some((at_fork, at_length)) if at_fork == fork => at_length.min(length).min(remote.length),
            _ => 0,
        }
    }
}
