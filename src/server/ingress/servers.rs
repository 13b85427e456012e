//! The other servers of the cluster, which WELCOME names.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::wire::v2::{ServerList, push_servers};

/// Other servers, to which a client may go when this one is gone. There are none without a cluster.
#[derive(Default)]
pub struct OtherServers {
    /// The bytes of a [`ServerList`].
    list: ArcSwapOption<Vec<u8>>,
}

impl OtherServers {
    /// Names these servers from now on, of which the first
    /// [`MAX_OTHER_SERVERS`](crate::wire::v2::MAX_OTHER_SERVERS) count.
    pub fn set(&self, servers: &[SocketAddr]) {
        let mut bytes = Vec::new();
        push_servers(servers, &mut bytes);
        self.list
            .store((!bytes.is_empty()).then(|| Arc::new(bytes)));
    }

    /// Calls `read` with the list.
    pub(super) fn with<T>(&self, read: impl FnOnce(ServerList<'_>) -> T) -> T {
        let list = self.list.load();
        let list = list.as_deref().and_then(|bytes| ServerList::parse(bytes));
        read(list.unwrap_or_default())
    }
}
