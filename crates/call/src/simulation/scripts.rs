//! Scripted calls.
