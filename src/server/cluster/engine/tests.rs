//! Nodes with real registries, over a bus in memory.

mod model;
mod world;
