//! The parts of a configured server, for its sandbox.

use super::ServerConfig;
use crate::server::ops::sandbox::Feature;

impl ServerConfig {
    /// Returns the parts of the server that need rights in its sandbox.
    #[doc(hidden)]
    pub fn features(&self) -> Vec<Feature> {
        let mut features = vec![Feature::Core, Feature::Sockets, Feature::Console];
        features.extend(self.state_dir.clone().map(Feature::StateDir));
        #[cfg(feature = "admin")]
        features.extend(self.admin.address.map(|address| Feature::Admin {
            port: address.port(),
            token_file: self.admin.token_file.clone(),
        }));
        #[cfg(feature = "cluster")]
        features.extend(self.cluster.feature());
        features
    }
}
