//! What templates and batches are made of.

pub mod batch_worker;
pub mod task_template;
