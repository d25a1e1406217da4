use crate::actor::{Actor, Event};
use crate::board::Board;
use crate::node::runtime;
use crate::{Bootstrap, Part, Standing, StartError, SwarmOptions};
use cloudpal_store::{Connection, Store};
use libudx::UdxRuntime;
use peeroxide_dht::hyperdht::{
    self, DEFAULT_BOOTSTRAP, HyperDhtConfig, HyperDhtHandle, KeyPair, ServerEvent,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// How long the first nodes may take to answer.
const BOOTSTRAP: Duration = Duration::from_secs(15);
/// How long taking announcements back may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// A store on the table. It leaves when it is closed or dropped; the store goes on.
pub struct Swarm {
    /// None once closed.
    runtime: Option<Runtime>,
    to: UnboundedSender<Event>,
    board: Arc<Board>,
}

impl Swarm {
    /// Gets onto the table under the store's own [network key](Store::network_key). Announces and looks up nothing yet.
    /// Blocks until a node answers, so asynchronous code calls it where blocking is allowed.
    pub fn start(store: &Store, options: SwarmOptions) -> Result<Self, StartError> {
        let nodes = addresses(&options.bootstrap)?;
        let runtime = runtime()?;
        let udx = UdxRuntime::new().map_err(|error| StartError::Port(Box::new(error.into())))?;
        let (dht, knocks) = runtime.block_on(reach(&udx, nodes))?;
        let (to, events) = unbounded_channel();
        let board = Arc::<Board>::default();
        let pair = KeyPair::from_seed(*store.network_seed().expose());
        let actor = Actor::new(dht, udx, pair, store.clone(), options, Arc::clone(&board), to.clone());
        runtime.spawn(actor.run(events, knocks));
        Ok(Swarm { runtime: Some(runtime), to, board })
    }

    /// Begins with a log, known by its discovery key, or takes another part in it.
    pub fn join(&self, discovery_key: [u8; 32], part: Part) {
        self.tell(Event::Join(discovery_key, part));
    }

    /// Announces a log no more and looks for nobody else. Connections stay.
    pub fn leave(&self, discovery_key: [u8; 32]) {
        self.tell(Event::Leave(discovery_key));
    }

    /// Waits until `done` says so of how it stands with a log, at most for `timeout`, and tells how it stands then.
    pub fn wait(
        &self,
        discovery_key: &[u8; 32],
        timeout: Duration,
        done: impl Fn(&Standing) -> bool,
    ) -> Standing {
        self.board.wait(discovery_key, timeout, done)
    }

    /// Who is connected now, whoever dialled.
    pub fn connections(&self) -> Vec<Connection> {
        self.board.connections()
    }

    /// Takes back what was announced, and ends all connections; waits up to five seconds for nodes to hear it.
    pub fn close(mut self) {
        self.end();
    }

    fn tell(&self, event: Event) {
        // The actor goes on until it is told to end.
        let _told = self.to.send(event);
    }

    fn end(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let (done, heard) = std::sync::mpsc::channel();
        self.tell(Event::Close(done));
        let _in_time = heard.recv_timeout(GOODBYE);
        runtime.shutdown_background();
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.end();
    }
}

/// The nodes to begin at, if each looks like an address.
fn addresses(bootstrap: &Bootstrap) -> Result<Vec<String>, StartError> {
    let Bootstrap::Nodes(nodes) = bootstrap else { return Ok(DEFAULT_BOOTSTRAP.map(String::from).to_vec()) };
    let is_address = |text: &&String| match text.rsplit_once(':') {
        Some((host, port)) => !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0),
        None => false,
    };
    match nodes.iter().find(|text| !is_address(text)) {
        Some(wrong) => Err(StartError::Address(wrong.clone())),
        None if nodes.is_empty() => Err(StartError::Silent("no address at all".into())),
        None => Ok(nodes.clone()),
    }
}

async fn reach(
    udx: &UdxRuntime,
    nodes: Vec<String>,
) -> Result<(HyperDhtHandle, UnboundedReceiver<ServerEvent>), StartError> {
    let silent = StartError::Silent(nodes.join(", "));
    let mut config = HyperDhtConfig::default();
    config.dht.bootstrap = nodes;
    let port = |error| StartError::Port(Box::new(error));
    let (_task, dht, knocks) = hyperdht::spawn(udx, config).await.map_err(port)?;
    let knows_nodes =
        async { dht.bootstrapped().await.is_ok() && dht.table_size().await.is_ok_and(|size| size > 0) };
    match timeout(BOOTSTRAP, knows_nodes).await {
        Ok(true) => Ok((dht, knocks)),
        _ => Err(silent),
    }
}
