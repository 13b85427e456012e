//! Nodes with real registries, over a bus in memory.

mod cases;
mod model;
mod names;
mod texts;
mod world;
