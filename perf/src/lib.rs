//! What the measuring programs `floor`, `load` and `report` share. Nothing here depends on the engine: they talk to
//! server processes over loopback, so that a fault in the engine cannot hide in its own yardstick.
#![deny(unsafe_code)]

pub mod client;
pub mod options;
#[allow(unsafe_code)]
pub mod ring;
pub mod secure;
