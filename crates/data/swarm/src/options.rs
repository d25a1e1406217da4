use cloudpal_store::Access;

/// How a swarm behaves.
#[derive(Debug, Clone)]
pub struct SwarmOptions {
    /// The nodes by which it finds all others.
    pub bootstrap: Bootstrap,
    /// Who may connect, and whom it dials.
    pub access: Access,
    /// Connections at a time. More are refused, and nobody else is dialled.
    pub connections: usize,
}

impl Default for SwarmOptions {
    fn default() -> Self {
        SwarmOptions { bootstrap: Bootstrap::Public, access: Access::Anyone, connections: 64 }
    }
}

/// Where a table begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrap {
    /// Three nodes of the public table of npm hyperswarm.
    Public,
    /// These, as `HOST:PORT`: another table, or the same by other doors.
    Nodes(Vec<String>),
}

/// What to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Announce it, and take whoever comes.
    Serve,
    /// Look up who announced it, and connect to them.
    Find,
    /// Both.
    Both,
}

impl Part {
    pub(crate) fn serves(self) -> bool {
        matches!(self, Part::Serve | Part::Both)
    }

    pub(crate) fn finds(self) -> bool {
        matches!(self, Part::Find | Part::Both)
    }
}
