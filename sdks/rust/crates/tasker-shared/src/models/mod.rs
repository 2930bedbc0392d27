//! What templates and batches are made of.

pub mod core;
