//! Runs handlers for the steps of a Tasker server.
