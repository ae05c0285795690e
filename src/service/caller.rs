//! Who asks: the peer of a connection, the client behind it, and what we are called where they are.

use std::{net::IpAddr, sync::Arc};

use http::request::Parts;

use super::{
    Service,
    shares::{Whose, network},
};
use crate::protocol::{Links, Problem, forwarded::Sight};

/// The address of the client, as far as it is known: the peer of the connection, or whom a proxy of
/// ours names. An extension of the request, and in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Who asks through this clone of the service.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller {
    /// The other end of the connection.
    peer: Option<IpAddr>,
    /// Links for one request, where a proxy told another address than ours.
    pub(super) links: Option<Arc<Links>>,
    /// Whose request it is; empty where nobody is named.
    owner: String,
    /// Whom its places count for.
    pub(super) whose: Whose,
    /// A proxy of ours names somebody, and it cannot be told whom.
    pub(super) nobody: Option<Problem>,
}

impl Service {
    /// The same service, for requests from `peer`. Without it nobody's word about a client is
    /// taken.
    #[must_use]
    pub fn for_peer(mut self, peer: IpAddr) -> Self {
        self.1 = Caller { peer: Some(peer), ..Caller::default() };
        self
    }

    /// Whose request it is, by the word of a proxy of ours; empty where nobody is named.
    pub(super) fn owner(&self) -> &str {
        &self.1.owner
    }

    /// Whom the places of this address count for: a proxy of ours stands for many.
    pub(crate) fn whose(&self, address: IpAddr) -> Whose {
        (!self.0.options.proxies.have(address)).then(|| network(address))
    }

    /// Learns from the head who asks.
    pub(super) fn meet(&mut self, parts: &mut Parts) -> Option<IpAddr> {
        let (options, peer) = (&self.0.options, self.1.peer?);
        let Sight { client, public } = options.proxies.look(peer, &parts.headers);
        if options.proxies.have(peer) {
            match options.owner.read(&parts.headers) {
                Ok(owner) => self.1.owner = owner,
                Err(problem) => self.1.nobody = Some(problem),
            }
        }
        self.1.whose = self.whose(client);
        self.1.links = public.map(|public| Arc::new(options.links.behind(public)));
        parts.extensions.insert(ClientAddress(client));
        Some(client)
    }
}
