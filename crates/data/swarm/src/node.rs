use crate::StartError;
use peeroxide_dht::hyperdht::{self, HyperDhtConfig, ServerEvent};
use std::net::{SocketAddr, SocketAddrV4};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;

/// A node of a table, for others to begin at: it stores announcements and passes greetings on. A table of one's own
/// needs a few of them at fixed addresses. It is a node until it is dropped.
pub struct Node {
    /// None once dropped.
    runtime: Option<Runtime>,
    address: SocketAddr,
    /// It serves nobody itself, but the table wants somebody to hear that.
    _knocks: UnboundedReceiver<ServerEvent>,
}

impl Node {
    /// Starts a node at `address` that knows `others`, each `HOST:PORT`; the first node of a table knows none. Blocks
    /// until it knows its neighbours, so asynchronous code calls it where blocking is allowed.
    pub fn start(address: SocketAddrV4, others: &[String]) -> Result<Self, StartError> {
        let runtime = runtime()?;
        let mut config = HyperDhtConfig::default();
        config.dht.bootstrap = others.to_vec();
        config.dht.host = address.ip().to_string();
        config.dht.port = address.port();
        config.dht.ephemeral = Some(false);
        config.dht.firewalled = false;
        let port = |error| StartError::Port(Box::new(error));
        let (knocks, address) = runtime.block_on(async {
            let udx = libudx::UdxRuntime::new().map_err(|error| port(error.into()))?;
            let (_task, dht, knocks) = hyperdht::spawn(&udx, config).await.map_err(port)?;
            dht.bootstrapped().await.map_err(port)?;
            let local = dht.local_port().await.map_err(port)?;
            Ok::<_, StartError>((knocks, SocketAddr::new((*address.ip()).into(), local)))
        })?;
        Ok(Node { runtime: Some(runtime), address, _knocks: knocks })
    }

    /// Where it is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Two threads: one can encrypt while the other listens.
pub(crate) fn runtime() -> Result<Runtime, StartError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).thread_name("swarm").enable_all().build().map_err(StartError::Thread)
}
