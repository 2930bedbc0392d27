//! Write step handlers in Rust.
