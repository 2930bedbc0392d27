//! The worker's loop. `machine` decides what is done, `driver` does it.

pub mod call_error;
pub mod driver;
pub mod machine;
pub mod pause;
pub mod protocol;
pub mod report;
pub mod results;
pub mod server;
